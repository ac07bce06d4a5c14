use super::*;
use crate::auth::Scopes;

#[test]
fn a_token_is_cached_until_it_expires_or_is_evicted() {
    let identity = |subject| Identity::try_new(subject, Scopes::ALL).unwrap();
    let mut tokens = VerifiedTokens(LruCache::new(NonZeroUsize::new(2).unwrap()));
    let found = |tokens: &mut VerifiedTokens, token, now| Some(tokens.get(token, now)?.identity);
    let key = Fingerprint::of([]);
    let [a, b, c] = ["a", "b", "c"].map(TokenHash::of);
    tokens.put(a, Verified { identity: identity("a"), valid_until: 100, key });
    tokens.put(b, Verified { identity: identity("b"), valid_until: 200, key });
    assert_eq!(found(&mut tokens, a, 100), Some(identity("a")));
    tokens.put(c, Verified { identity: identity("c"), valid_until: 200, key });
    assert_eq!(found(&mut tokens, b, 100), None, "it was used least recently");
    assert_eq!(found(&mut tokens, a, 101), None, "it has expired");
    assert_eq!(found(&mut tokens, a, 100), None, "it was removed");
    assert_eq!(found(&mut tokens, c, 100), Some(identity("c")));
}
