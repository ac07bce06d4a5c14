//! The hash chain that ties an account's history together.
//!
//! Each [`Entry`] carries a SHA-256 over its content and the hash of the entry before it, and the
//! [`Account`] carries the newest. So a history cannot be changed in one place without a trace, and
//! one hash, the head, stands for all that ever happened to the account.
//!
//! There is no key in it: whoever can write to the store can calculate all hashes from some entry
//! on anew, and the chain alone does not tell. Against that, keep heads elsewhere: a head that was
//! noted down must still be the hash of that entry.
//!
//! # What is hashed
//!
//! The bytes are these fields, one after another:
//!
//! * a *text*: its length in bytes as a number, then its UTF-8;
//! * a *number*: 8 bytes, little-endian, two's complement;
//! * *money*: the code of its currency as text (`USD`), then its minor units as a number;
//! * a *hash*: its 32 bytes.
//!
//! An entry:
//!
//! | field | as |
//! |---|---|
//! | `bank.v1.entry`, which names this encoding | text |
//! | the hash of the entry before it; for the first entry, that of the opening (below) | hash |
//! | account id | text |
//! | sequence | number |
//! | time, in milliseconds since 1970-01-01T00:00:00Z | number |
//! | kind, by its name as stored: `deposit` | text |
//! | what only that kind has (below) | |
//! | amount | money |
//! | balance after | money |
//! | transaction id: `123/1767225600000-7` | text |
//! | request id; empty for none | text |
//! | description | text |
//!
//! | kind | has |
//! |---|---|
//! | `account_opened`, `overdraft_limit_set` | the overdraft limit as money |
//! | `transfer_out`, `transfer_in` | the id of the other account as text |
//! | `interest` | annual rate (`2.5`), day count, compounding, rounding mode, period (`one_year`, `2026-01-01/2026-07-01`), each as text |
//! | all others | nothing |
//!
//! The opening, for the hash that the first entry builds on:
//!
//! | field | as |
//! |---|---|
//! | `bank.v1.account` | text |
//! | account id, type (`savings`), code of its currency, owner (empty for nobody) | text each |
//! | time of opening, in milliseconds since 1970-01-01T00:00:00Z | number |
//! | how many labels there are | number |
//! | each label in the order of the bytes of its key: key, value | text each |
//!
//! An encoding that says the same in another way would change every hash: this one never changes. A
//! later one gets another name in its first field.

use std::{
    fmt,
    str::{self, FromStr},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::{Account, Entry, EntryKind, RequestId, encoding::Encoder};

/// The hash of an entry and, through the entries before it, of all the history up to it.
///
/// It prints as 64 hexadecimal digits in lower case.
///
/// ```
/// use bank_domain::EntryHash;
///
/// let text = "00ff".repeat(16);
/// let hash: EntryHash = text.parse()?;
/// assert_eq!(hash.to_string(), text);
/// assert_eq!(hash.as_bytes()[1], 0xff);
/// # Ok::<(), bank_domain::InvalidEntryHash>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryHash([u8; 32]);

/// The text is not the hash of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a hash; it has 64 of 0-9 a-f")]
pub struct InvalidEntryHash;

impl EntryHash {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Account {
    /// What the first entry builds on: a hash over all that the account was opened with and that
    /// never changes.
    pub fn genesis(&self) -> EntryHash {
        let mut to = Encoder::default();
        to.text("bank.v1.account").text(self.id.as_str()).text(self.account_type.as_str());
        to.text(self.currency.code()).text(self.owner.as_str());
        to.number(self.opened_at.unix_ms());
        to.count(self.labels.iter().count() as u64);
        for (key, value) in self.labels.iter() {
            to.text(key).text(value);
        }
        EntryHash(to.finish())
    }
}

impl Entry {
    /// The hash that this entry has after an entry with the hash given; its own `hash` is not part
    /// of it.
    pub fn chained_to(&self, previous: &EntryHash) -> EntryHash {
        let mut to = Encoder::default();
        to.text("bank.v1.entry").bytes(previous.as_bytes()).text(self.account_id.as_str());
        to.count(self.sequence).number(self.time.unix_ms()).text(self.kind.as_str());
        match &self.kind {
            EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
                to.money(*limit);
            }
            EntryKind::TransferOut { destination: other } | EntryKind::TransferIn { source: other } => {
                to.text(other.as_str());
            }
            EntryKind::Interest { terms, period } => {
                to.printed(&terms.annual_rate).text(terms.day_count.as_str());
                to.text(terms.compounding.as_str()).text(terms.rounding_mode.as_str());
                to.printed(period);
            }
            EntryKind::Deposit
            | EntryKind::Withdrawal
            | EntryKind::AccountFrozen
            | EntryKind::AccountUnfrozen
            | EntryKind::AccountClosed => {}
        }
        to.money(self.amount).money(self.balance_after).printed(&self.transaction_id);
        to.text(self.request_id.as_ref().map_or("", RequestId::as_str)).text(self.description.as_str());
        EntryHash(to.finish())
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Every commit prints some: a digit at a time takes ten times as long.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({self})")
    }
}

impl FromStr for EntryHash {
    type Err = InvalidEntryHash;

    fn from_str(text: &str) -> Result<Self, InvalidEntryHash> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(InvalidEntryHash),
        };
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(InvalidEntryHash);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = 16 * digit(pair[0])? + digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for EntryHash {
    /// As text for people, as bytes elsewhere.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for EntryHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hash;

        impl Visitor<'_> for Hash {
            type Value = EntryHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the hash of an entry")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EntryHash, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<EntryHash, E> {
                bytes.try_into().map(EntryHash).map_err(|_| E::custom(InvalidEntryHash))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Hash)
        } else {
            deserializer.deserialize_bytes(Hash)
        }
    }
}
