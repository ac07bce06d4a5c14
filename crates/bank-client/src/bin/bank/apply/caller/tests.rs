use super::*;

fn read(claims: &str) -> (String, Vec<String>) {
    let Caller { subject, scopes } = caller(&format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims)));
    (subject, scopes)
}

#[test]
fn a_renewed_token_is_the_same_caller() {
    let first = read(r#"{"sub":"alice","scope":"bank.write openid bank.read","exp":1}"#);
    assert_eq!(first, ("alice".to_owned(), vec!["bank.read".to_owned(), "bank.write".to_owned()]));
    assert_eq!(read(r#"{"sub":"alice","scp":["bank.read","bank.write"],"exp":2}"#), first);
    assert_ne!(read(r#"{"sub":"alice","scope":"bank.read"}"#), first);
    assert_ne!(caller("opaque"), caller("other"));
}
