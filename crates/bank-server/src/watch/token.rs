//! Tokens: what a watch has told, as text that goes to its caller and comes back.
//!
//! ```text
//! version  bank  scope  (length  account id  time  sequence  hash)*  checksum
//!    1      8      8        1      length      8       8      8         8
//! ```
//!
//! in bytes, numbers in big endian, and the whole in base64 for URLs. Bank, scope and checksum are the
//! beginnings of SHA-256 hashes. Nothing in it is secret and nothing in it is trusted: who makes up a
//! token gets what is theirs to see, from another place.

use bank_domain::{AccountId, EntryId, Timestamp};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{Position, Positions, Scope};

const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + 2 * DIGEST_BYTES;
/// What is kept of one account, beside its id.
const POSITION_BYTES: usize = 1 + 8 + 8 + Position::HASH_BYTES;

type Digest = [u8; DIGEST_BYTES];

/// The longest token of a watch of so many accounts, in bytes.
pub(crate) const fn token_bytes_max(accounts: usize) -> usize {
    let bytes = HEAD_BYTES + accounts * (AccountId::LENGTH_MAX + POSITION_BYTES) + DIGEST_BYTES;
    bytes.div_ceil(3) * 4
}

/// What a watch has told, of what, in which bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    bank: Digest,
    scope: Digest,
    positions: Positions,
}

/// The text is not the token of this watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("is not a resume token; use resume_token of a reply")]
    Malformed,
    #[error("is cut off or altered; use resume_token of a reply as it came")]
    Damaged,
    #[error("has version {version}, which this server does not know; resume at a newer server")]
    Version { version: u8 },
    #[error("is of another bank")]
    OtherBank,
    #[error("is of a watch of something else; use it with the account_id and owner that it came with")]
    OtherScope,
}

impl Token {
    pub(crate) fn new(bank_id: &str, scope: &Scope, positions: Positions) -> Self {
        Self { bank: digest(&[bank_id.as_bytes()]), scope: scope_digest(scope), positions }
    }

    /// Up to where was told, if it is the token of such a watch.
    pub(crate) fn positions_of(self, bank_id: &str, scope: &Scope) -> Result<Positions, InvalidToken> {
        if self.bank != digest(&[bank_id.as_bytes()]) {
            return Err(InvalidToken::OtherBank);
        }
        if self.scope != scope_digest(scope) {
            return Err(InvalidToken::OtherScope);
        }
        Ok(self.positions)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidToken> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken::Malformed)?;
        let (body, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(InvalidToken::Malformed)?;
        let version = *body.first().ok_or(InvalidToken::Malformed)?;
        if *checksum != digest(&[body]) {
            return Err(InvalidToken::Damaged);
        }
        if version != VERSION {
            return Err(InvalidToken::Version { version });
        }
        // Past the checksum only what somebody made up can be wrong.
        Self::read(Reader(&body[1..])).ok_or(InvalidToken::Malformed)
    }

    fn read(mut body: Reader<'_>) -> Option<Self> {
        let (bank, scope) = (body.array()?, body.array()?);
        let mut positions = Positions::new();
        while !body.0.is_empty() {
            let [length] = body.array()?;
            let id: AccountId = std::str::from_utf8(body.take(length.into())?).ok()?.parse().ok()?;
            let time = Timestamp::try_from_unix_ms(i64::from_be_bytes(body.array()?)).ok()?;
            let sequence = u64::from_be_bytes(body.array()?);
            let position = Position { entry_id: EntryId { time, sequence }, hash: body.array()? };
            let is_counted = (1..u64::MAX).contains(&sequence);
            if !is_counted || positions.insert(id, position).is_some() {
                return None;
            }
        }
        Some(Self { bank, scope, positions })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend(self.bank);
        bytes.extend(self.scope);
        for (id, Position { entry_id: EntryId { time, sequence }, hash }) in &self.positions {
            // At most 64.
            bytes.push(u8::try_from(id.as_str().len()).unwrap_or(u8::MAX));
            bytes.extend(id.as_str().bytes());
            bytes.extend(time.unix_ms().to_be_bytes());
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(hash);
        }
        let checksum = digest(&[&bytes]);
        bytes.extend(checksum);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What is left of a token.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

fn scope_digest(scope: &Scope) -> Digest {
    match scope {
        Scope::Account(id) => digest(&[b"account", id.as_str().as_bytes()]),
        Scope::Owner(owner) => digest(&[b"owner", owner.as_str().as_bytes()]),
        Scope::Bank => digest(&[b"bank"]),
    }
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.finalize()[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(ids: &[&str]) -> Positions {
        let time = Timestamp::try_from_unix_ms(1_767_225_600_000).unwrap();
        let position = |sequence| Position { entry_id: EntryId { time, sequence }, hash: [7; 8] };
        (1..).zip(ids).map(|(sequence, id)| (id.parse().unwrap(), position(sequence))).collect()
    }

    fn account(id: &str) -> Scope {
        Scope::Account(id.parse().unwrap())
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        for ids in [&[][..], &["123"], &["a", "b", "c.d:e_f-g"]] {
            let told = positions(ids);
            let text = Token::new("bank", &Scope::Bank, told.clone()).to_string();
            assert_eq!(Token::parse(&text).unwrap().positions_of("bank", &Scope::Bank), Ok(told));
        }
    }

    #[test]
    fn the_token_of_another_watch_is_told_as_such() {
        let token = Token::new("bank", &account("a"), positions(&["a"]));
        let of = |bank_id, scope: &Scope| token.clone().positions_of(bank_id, scope);
        assert!(of("bank", &account("a")).is_ok());
        assert_eq!(of("bench", &account("a")), Err(InvalidToken::OtherBank));
        for scope in [account("b"), Scope::Owner("a".parse().unwrap()), Scope::Bank] {
            assert_eq!(of("bank", &scope), Err(InvalidToken::OtherScope), "{scope:?}");
        }
    }

    #[test]
    fn what_is_no_token_or_no_whole_one_is_refused() {
        let text = Token::new("bank", &account("a"), positions(&["a"])).to_string();
        for end in 1..text.len() {
            let error = Token::parse(&text[..end]).unwrap_err();
            assert!(matches!(error, InvalidToken::Damaged | InvalidToken::Malformed), "{end}: {error}");
        }
        for place in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            Token::parse(std::str::from_utf8(&altered).unwrap()).unwrap_err();
        }
        for garbage in ["", "x", "not a token", "é", "AAAA", "AAAAAAAAAAAA", "====", &"A".repeat(60_000)] {
            Token::parse(garbage).unwrap_err();
        }
    }

    #[test]
    fn what_somebody_made_up_is_refused_or_harmless() {
        let sealed = |body: &[u8]| BASE64_URL_SAFE_NO_PAD.encode([body, &digest(&[body])].concat());
        let head = [&[VERSION][..], &[0; 16]].concat();
        assert!(Token::parse(&sealed(&head)).unwrap().positions.is_empty());
        let row = |sequence: u64| [&[1][..], b"a", &[0; 8], &sequence.to_be_bytes(), &[0; 8]].concat();
        assert!(Token::parse(&sealed(&[&head[..], &row(1)].concat())).is_ok());
        for body in [
            vec![VERSION],
            [&head[..], &row(0)].concat(),
            [&head[..], &row(u64::MAX)].concat(),
            [&head[..], &row(1), &row(2)].concat(),
            [&head[..], &row(1)[..5]].concat(),
            [&head[..], &[200, b'a']].concat(),
        ] {
            assert_eq!(Token::parse(&sealed(&body)), Err(InvalidToken::Malformed), "{body:?}");
        }
        let newer = [&[2][..], &[0; 16]].concat();
        assert_eq!(Token::parse(&sealed(&newer)), Err(InvalidToken::Version { version: 2 }));
    }

    #[test]
    fn the_longest_token_is_as_long_as_said() {
        let ids: Vec<_> = (0..50).map(|number| format!("{number:064}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let text = Token::new("bank", &Scope::Bank, positions(&ids)).to_string();
        assert!(text.len() <= token_bytes_max(50) && text.len() + 4 > token_bytes_max(50), "{}", text.len());
    }
}
