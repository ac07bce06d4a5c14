//! Resume tokens: the positions of a watch as text that its caller keeps and sends back.
//!
//! ```text
//! version  bank  selection  (length  account id  time  sequence  hash)*  seal
//!    1      8        8          1      length      8       8      8      32
//! ```
//!
//! Sizes are in bytes, numbers are big endian, and the whole is URL-safe base64. Bank and selection are prefixes of
//! SHA-256 hashes. The seal is the HMAC-SHA256 of everything before it under the secret of the bank. A token contains
//! no secret and nothing that its caller may not see. The seal exists because a token that names a missing entry is
//! reported as data loss: only the bank must be able to cause that.
//!
//! Version 1, from earlier servers, ends with 8 bytes of an unkeyed hash instead. Such a token is accepted after
//! its positions were found in the histories.

use bank_domain::{AccountId, EntryId, Timestamp};
use bank_store::Secret;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::position::{Position, Positions};
use crate::notifier::Selection;

const VERSION: u8 = 2;
const VERSION_UNSEALED: u8 = 1;
const SEAL_BYTES: usize = 32;
/// Separates the key of the seal from other uses of the secret of the bank.
const PURPOSE: &[u8] = b"bank: resume token";
const DIGEST_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + 2 * DIGEST_BYTES;
/// The size of a position without the account id.
const POSITION_BYTES: usize = 1 + 8 + 8 + Position::HASH_BYTES;

type Digest = [u8; DIGEST_BYTES];

/// The longest token of a watch of this many accounts, in bytes.
pub(crate) const fn token_bytes_max(accounts: usize) -> usize {
    let bytes = HEADER_BYTES + accounts * (AccountId::LENGTH_MAX + POSITION_BYTES) + SEAL_BYTES;
    bytes.div_ceil(3) * 4
}

/// A token of a known version, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(Vec<u8>);

/// Why a text is not a token of this watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum InvalidToken {
    #[error("is not a resume token; use resume_token of a reply")]
    Malformed,
    #[error("is truncated or altered; use resume_token of a reply unchanged")]
    Damaged,
    #[error("names entries that do not exist; watch without it, from now or from the beginning")]
    UnknownEntries,
    #[error("has version {version}, which this server does not know; resume on a newer server")]
    Version { version: u8 },
    #[error("belongs to another bank")]
    OtherBank,
    #[error("belongs to another watch; send it with the account_id and owner of the original request")]
    OtherSelection,
}

impl Token {
    /// The token of a watch at these positions.
    pub(super) fn encode(
        bank_id: &str,
        secret: &Secret,
        selection: &Selection,
        positions: &Positions,
    ) -> String {
        let mut bytes = Vec::new();
        for (id, Position { entry_id: EntryId { time, sequence }, hash }) in positions {
            // At most 64.
            bytes.push(u8::try_from(id.as_str().len()).unwrap_or(u8::MAX));
            bytes.extend(id.as_str().bytes());
            bytes.extend(time.unix_ms().to_be_bytes());
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(hash);
        }
        sealed(bank_id, secret, selection, &bytes)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidToken> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken::Malformed)?;
        match bytes.first() {
            Some(_) if bytes.len() < HEADER_BYTES + DIGEST_BYTES => Err(InvalidToken::Malformed),
            Some(&(VERSION | VERSION_UNSEALED)) => Ok(Self(bytes)),
            Some(&version) => Err(InvalidToken::Version { version }),
            None => Err(InvalidToken::Malformed),
        }
    }

    /// Whether the positions are proven to come from a server of this bank.
    pub(super) fn is_sealed(&self) -> bool {
        self.0.first() == Some(&VERSION)
    }

    /// The positions, if this is a token of such a watch.
    pub(super) fn positions(
        &self,
        bank_id: &str,
        secret: &Secret,
        selection: &Selection,
    ) -> Result<Positions, InvalidToken> {
        let end_bytes = if self.is_sealed() { SEAL_BYTES } else { DIGEST_BYTES };
        let end = self.0.len().checked_sub(end_bytes).ok_or(InvalidToken::Damaged)?;
        let (body, end) = self.0.split_at(end);
        let mut rest = Reader(body.get(1..).unwrap_or_default());
        let (bank, of): (Digest, Digest) = rest.array().zip(rest.array()).ok_or(InvalidToken::Damaged)?;
        let is_same_bank = bank == digest(&[bank_id.as_bytes()]);
        let is_intact = if self.is_sealed() {
            // The seal of another bank is made with a secret that is not known here.
            !is_same_bank || hmac::verify(&key(secret), body, end).is_ok()
        } else {
            end == digest(&[body])
        };
        if !is_intact {
            return Err(InvalidToken::Damaged);
        }
        if !is_same_bank {
            return Err(InvalidToken::OtherBank);
        }
        if of != selection_digest(selection) {
            return Err(InvalidToken::OtherSelection);
        }
        // Malformed only in a forged token: it has passed its checksum.
        rest.positions().ok_or(InvalidToken::UnknownEntries)
    }
}

/// The token with these positions.
pub(super) fn sealed(bank_id: &str, secret: &Secret, selection: &Selection, positions: &[u8]) -> String {
    let head = [&[VERSION][..], &digest(&[bank_id.as_bytes()]), &selection_digest(selection)];
    let body = [&head.concat(), positions].concat();
    let seal = hmac::sign(&key(secret), &body);
    BASE64_URL_SAFE_NO_PAD.encode([&body, seal.as_ref()].concat())
}

fn key(secret: &Secret) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), PURPOSE);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

/// The rest of a token.
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
            let is_in_range = (1..u64::MAX).contains(&sequence);
            if !is_in_range || positions.insert(id, position).is_some() {
                return None;
            }
        }
        Some(positions)
    }
}

fn selection_digest(selection: &Selection) -> Digest {
    match selection {
        Selection::Account(id) => digest(&[b"account", id.as_str().as_bytes()]),
        Selection::Owner(owner) => digest(&[b"owner", owner.as_str().as_bytes()]),
        Selection::Bank => digest(&[b"bank"]),
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
mod tests;
