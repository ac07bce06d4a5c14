//! Tokens: what a watch has told, as text that goes to its caller and comes back.
//!
//! ```text
//! version  bank  scope  (length  account id  time  sequence  hash)*  seal
//!    1      8      8        1      length      8       8      8      32
//! ```
//!
//! in bytes, numbers in big endian, and the whole in base64 for URLs. Bank and scope are the beginnings of SHA-256
//! hashes; the seal is the HMAC-SHA256 of all before it, with the secret of the bank. Nothing in a token is
//! secret, and it shows nothing that is not its caller's to see. But where it names an entry that is not there, the
//! bank has lost what it told somebody: so nobody else than the bank may be able to make one.
//!
//! Tokens of version 1, which earlier servers gave out, end with 8 bytes of a hash without a key. They are taken,
//! and what they say is compared with the histories first.

use bank_domain::{AccountId, EntryId, Timestamp};
use bank_store::Secret;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::{Position, Positions, Scope};

const VERSION: u8 = 2;
/// Without a seal.
const VERSION_OPEN: u8 = 1;
const SEAL_BYTES: usize = 32;
/// What the secret of the bank is used for here.
const PURPOSE: &[u8] = b"bank: resume token";
const DIGEST_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + 2 * DIGEST_BYTES;
/// What is kept of one account, beside its id.
const POSITION_BYTES: usize = 1 + 8 + 8 + Position::HASH_BYTES;

type Digest = [u8; DIGEST_BYTES];

/// The longest token of a watch of so many accounts, in bytes.
pub(crate) const fn token_bytes_max(accounts: usize) -> usize {
    let bytes = HEAD_BYTES + accounts * (AccountId::LENGTH_MAX + POSITION_BYTES) + SEAL_BYTES;
    bytes.div_ceil(3) * 4
}

/// What a caller brings back, of a version that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(Vec<u8>);

/// Up to where a token says that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) positions: Positions,
    /// Whether a server of the bank says so. Else anybody may.
    pub(crate) is_sealed: bool,
}

/// The text is not the token of this watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("is not a resume token; use resume_token of a reply")]
    Malformed,
    #[error("is cut off or altered; use resume_token of a reply as it came")]
    Damaged,
    #[error("names entries that are not in the history; watch without it, from now or from the beginning")]
    Unfounded,
    #[error("has version {version}, which this server does not know; resume at a newer server")]
    Version { version: u8 },
    #[error("is of another bank")]
    OtherBank,
    #[error("is of a watch of something else; use it with the account_id and owner that it came with")]
    OtherScope,
}

impl Token {
    /// The token of a watch that has told so much.
    pub(crate) fn text(bank_id: &str, secret: &Secret, scope: &Scope, positions: &Positions) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(digest(&[bank_id.as_bytes()]));
        bytes.extend(scope_digest(scope));
        for (id, Position { entry_id: EntryId { time, sequence }, hash }) in positions {
            // At most 64.
            bytes.push(u8::try_from(id.as_str().len()).unwrap_or(u8::MAX));
            bytes.extend(id.as_str().bytes());
            bytes.extend(time.unix_ms().to_be_bytes());
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(hash);
        }
        let seal = hmac::sign(&key(secret), &bytes);
        bytes.extend(seal.as_ref());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidToken> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken::Malformed)?;
        if bytes.len() < HEAD_BYTES + DIGEST_BYTES {
            return Err(InvalidToken::Malformed);
        }
        match bytes.first() {
            None => Err(InvalidToken::Malformed),
            Some(&(VERSION | VERSION_OPEN)) => Ok(Self(bytes)),
            Some(&version) => Err(InvalidToken::Version { version }),
        }
    }

    /// Up to where was told, if it is the token of such a watch.
    pub(crate) fn told(&self, bank_id: &str, secret: &Secret, scope: &Scope) -> Result<Told, InvalidToken> {
        let is_sealed = self.0.first() == Some(&VERSION);
        let end_bytes = if is_sealed { SEAL_BYTES } else { DIGEST_BYTES };
        let end = self.0.len().checked_sub(end_bytes).ok_or(InvalidToken::Damaged)?;
        let (body, end) = self.0.split_at(end);
        let mut rest = Reader(body.get(1..).unwrap_or_default());
        let (bank, of): (Digest, Digest) = rest.array().zip(rest.array()).ok_or(InvalidToken::Damaged)?;
        if is_sealed && bank != digest(&[bank_id.as_bytes()]) {
            // Its seal is made with a secret that is not known here.
            return Err(InvalidToken::OtherBank);
        }
        let is_intact =
            if is_sealed { hmac::verify(&key(secret), body, end).is_ok() } else { end == digest(&[body]) };
        if !is_intact {
            return Err(InvalidToken::Damaged);
        }
        if bank != digest(&[bank_id.as_bytes()]) {
            return Err(InvalidToken::OtherBank);
        }
        if of != scope_digest(scope) {
            return Err(InvalidToken::OtherScope);
        }
        // Only what somebody made up can be wrong here.
        Ok(Told { positions: rest.positions().ok_or(InvalidToken::Unfounded)?, is_sealed })
    }
}

fn key(secret: &Secret) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), PURPOSE);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
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

    fn positions(mut self) -> Option<Positions> {
        let mut positions = Positions::new();
        while !self.0.is_empty() {
            let [length] = self.array()?;
            let id: AccountId = std::str::from_utf8(self.take(length.into())?).ok()?.parse().ok()?;
            let time = Timestamp::try_from_unix_ms(i64::from_be_bytes(self.array()?)).ok()?;
            let sequence = u64::from_be_bytes(self.array()?);
            let position = Position { entry_id: EntryId { time, sequence }, hash: self.array()? };
            let is_counted = (1..u64::MAX).contains(&sequence);
            if !is_counted || positions.insert(id, position).is_some() {
                return None;
            }
        }
        Some(positions)
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
    use std::time::Duration;

    use bank_store::{MemoryStore, Store as _};

    use super::*;

    fn secret() -> Secret {
        MemoryStore::new(Duration::ZERO).secret().clone()
    }

    fn positions(ids: &[&str]) -> Positions {
        let time = Timestamp::try_from_unix_ms(1_767_225_600_000).unwrap();
        let position = |sequence| Position { entry_id: EntryId { time, sequence }, hash: [7; 8] };
        (1..).zip(ids).map(|(sequence, id)| (id.parse().unwrap(), position(sequence))).collect()
    }

    fn account(id: &str) -> Scope {
        Scope::Account(id.parse().unwrap())
    }

    fn told(text: &str, secret: &Secret, scope: &Scope) -> Result<Told, InvalidToken> {
        Token::parse(text)?.told("bank", secret, scope)
    }

    /// A token as servers gave them out that knew no seal; anybody can make one.
    fn open(scope: &Scope, rows: &[u8]) -> String {
        let body = [&[VERSION_OPEN][..], &digest(&[b"bank"]), &scope_digest(scope), rows].concat();
        BASE64_URL_SAFE_NO_PAD.encode([&body[..], &digest(&[&body])].concat())
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let secret = secret();
        for ids in [&[][..], &["123"], &["a", "b", "c.d:e_f-g"]] {
            let positions = positions(ids);
            let text = Token::text("bank", &secret, &Scope::Bank, &positions);
            assert_eq!(told(&text, &secret, &Scope::Bank), Ok(Told { positions, is_sealed: true }));
        }
    }

    #[test]
    fn the_token_of_another_watch_is_told_as_such() {
        let secret = secret();
        let token = Token::parse(&Token::text("bank", &secret, &account("a"), &positions(&["a"]))).unwrap();
        assert!(token.told("bank", &secret, &account("a")).is_ok());
        assert_eq!(token.told("bench", &secret, &account("a")), Err(InvalidToken::OtherBank));
        for scope in [account("b"), Scope::Owner("a".parse().unwrap()), Scope::Bank] {
            assert_eq!(token.told("bank", &secret, &scope), Err(InvalidToken::OtherScope), "{scope:?}");
        }
    }

    #[test]
    fn what_is_no_token_or_no_whole_one_is_refused() {
        let secret = secret();
        let scope = account("a");
        let text = Token::text("bank", &secret, &scope, &positions(&["a"]));
        for end in 0..text.len() {
            told(&text[..end], &secret, &scope).unwrap_err();
        }
        for place in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            told(std::str::from_utf8(&altered).unwrap(), &secret, &scope).unwrap_err();
        }
        for garbage in ["", "x", "not a token", "é", "AAAA", "AAAAAAAAAAAA", "====", &"A".repeat(60_000)] {
            told(garbage, &secret, &scope).unwrap_err();
        }
    }

    #[test]
    fn nobody_but_the_bank_can_seal_one() {
        let secret = secret();
        let scope = account("a");
        let positions = positions(&["a"]);
        for other in [self::secret(), self::secret()] {
            let text = Token::text("bank", &other, &scope, &positions);
            assert_eq!(told(&text, &secret, &scope), Err(InvalidToken::Damaged));
        }
        // With the checksum that anybody can calculate.
        let sealed = Token::text("bank", &secret, &scope, &positions);
        let mut body = BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap();
        body.truncate(body.len() - SEAL_BYTES);
        let digest = Sha256::digest(&body);
        let text = BASE64_URL_SAFE_NO_PAD.encode([&body[..], &digest].concat());
        assert_eq!(told(&text, &secret, &scope), Err(InvalidToken::Damaged));
    }

    #[test]
    fn what_somebody_made_up_is_refused_or_not_trusted() {
        let secret = secret();
        let scope = account("a");
        let row = |sequence: u64| [&[1][..], b"a", &[0; 8], &sequence.to_be_bytes(), &[0; 8]].concat();
        for (rows, count) in [(vec![], 0), (row(1), 1)] {
            let Told { positions, is_sealed } = told(&open(&scope, &rows), &secret, &scope).unwrap();
            assert_eq!((positions.len(), is_sealed), (count, false));
        }
        for rows in [row(0), row(u64::MAX), [row(1), row(2)].concat(), row(1)[..5].to_vec(), vec![200, b'a']]
        {
            assert_eq!(told(&open(&scope, &rows), &secret, &scope), Err(InvalidToken::Unfounded), "{rows:?}");
        }
        let newer = BASE64_URL_SAFE_NO_PAD.encode([3; 60]);
        assert_eq!(told(&newer, &secret, &scope), Err(InvalidToken::Version { version: 3 }));
    }

    #[test]
    fn the_longest_token_is_as_long_as_said() {
        let ids: Vec<_> = (0..50).map(|number| format!("{number:064}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let text = Token::text("bank", &secret(), &Scope::Bank, &positions(&ids));
        assert!(text.len() <= token_bytes_max(50) && text.len() + 4 > token_bytes_max(50), "{}", text.len());
    }
}
