//! The hash chain over an account's history.
//!
//! Each [`Entry`] carries a SHA-256 over its content and the hash of the entry before it. The
//! [`Account`] carries the hash of the newest entry, its head. So the history cannot be changed in one
//! place without being noticed, and the head stands for the whole history.
//!
//! The hash has no key: whoever can write to the store can recalculate all hashes from some entry on,
//! and the chain alone does not show it. To detect that, keep heads elsewhere: a head that was noted
//! down must still be the hash of its entry.
//!
//! # What is hashed
//!
//! The bytes are these fields, one after another:
//!
//! * a *text*: its length in bytes as a number, then its UTF-8;
//! * a *number*: 8 bytes, little-endian, two's complement;
//! * *money*: the currency code as text (`USD`), then the minor units as a number;
//! * a *hash*: its 32 bytes.
//!
//! An entry:
//!
//! | field | type |
//! |---|---|
//! | `bank.v1.entry`, the name of this encoding | text |
//! | the hash of the entry before it; for the first entry, the opening hash (below) | hash |
//! | account id | text |
//! | sequence | number |
//! | time, in milliseconds since 1970-01-01T00:00:00Z | number |
//! | kind, by its stored name: `deposit` | text |
//! | the fields of that kind (below) | |
//! | amount | money |
//! | balance after | money |
//! | transaction id: `123/1767225600000-7` | text |
//! | request id; empty for none | text |
//! | description | text |
//!
//! | kind | fields |
//! |---|---|
//! | `account_opened`, `overdraft_limit_set` | overdraft limit as money |
//! | `transfer_out`, `transfer_in` | id of the other account as text |
//! | `interest` | annual rate (`2.5`), day count, compounding, rounding mode, period (`one_year`, `2026-01-01/2026-07-01`), each as text |
//! | all others | none |
//!
//! The opening hash, to which the first entry is chained:
//!
//! | field | type |
//! |---|---|
//! | `bank.v1.account` | text |
//! | account id, type (`savings`), currency code, owner (empty for nobody) | text each |
//! | time of opening, in milliseconds since 1970-01-01T00:00:00Z | number |
//! | number of labels | number |
//! | each label, ordered by the bytes of its key: key, value | text each |
//!
//! This encoding never changes, since any other would change every hash. A later encoding gets another
//! name in its first field.

use crate::{Account, Entry, EntryHash, EntryKind, RequestId, encoding::Encoder};

impl Account {
    /// The hash that the first entry is chained to: over everything about the account that never changes.
    pub fn genesis(&self) -> EntryHash {
        let mut to = Encoder::default();
        to.text("bank.v1.account").text(self.id.as_str()).text(self.account_type.as_str());
        to.text(self.currency.code()).text(self.owner.as_str());
        to.number(self.opened_at.unix_ms());
        to.count(self.labels.iter().count() as u64);
        for (key, value) in self.labels.iter() {
            to.text(key).text(value);
        }
        EntryHash::from_bytes(to.finish())
    }
}

impl Entry {
    /// The hash of this entry if the entry before it has the hash `previous`. The field `hash` is not
    /// part of the input.
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
        EntryHash::from_bytes(to.finish())
    }
}
