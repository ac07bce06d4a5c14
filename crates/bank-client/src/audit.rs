//! Audits: what the bank says about itself.

use bank_domain::{AccountId, Currency, MoneySum};
use bank_proto::v1;

use crate::{
    choice::AuditFindingKind,
    json::json_object,
    news::news,
    wire::{FromWire, Malformed, from_wire, parsed},
};

news! {
    /// A message from an audit.
    pub enum AuditNews from AuditAccountsResponse in audit_accounts_response, "audit" {
        /// The progress, at least once a second.
        Progress(AuditProgress),
        /// Something is wrong.
        Finding(AuditFinding),
        /// The end of the audit, and the last message.
        Summary(AuditSummary),
    }
}

from_wire! {
    /// How far an audit is.
    #[derive(Copy)]
    pub struct AuditProgress from AuditProgress {
        /// Accounts that have been checked.
        accounts_checked: u64 = count(accounts_checked),
        /// How many there are, if that is known.
        accounts_total: Option<u64> = count_if_any(accounts_total),
        /// Entries that have been checked.
        entries_checked: u64 = count(entries_checked),
    }

    /// Something that is wrong.
    pub struct AuditFinding from AuditFinding {
        /// What kind of thing.
        kind: AuditFindingKind = choice(kind),
        /// With which account; none for the bank as a whole.
        account_id: Option<AccountId> = parsed_if_any(account_id),
        /// The first entry that is wrong, if it is about entries.
        sequence: Option<u64> = count_if_any(sequence),
        /// What was found, for people.
        message: String = plain(message),
    }

    /// What an audit came to. All is well if it has no findings.
    pub struct AuditSummary from AuditSummary {
        /// Accounts that were checked.
        accounts_checked: u64 = count(accounts_checked),
        /// Entries that were checked.
        entries_checked: u64 = count(entries_checked),
        /// How many findings there were.
        findings: u64 = count(findings),
        /// What came in, went out and is held, in each currency.
        books: Vec<AuditBooks> = all(books),
    }
}

/// What came in, went out and is held in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditBooks {
    /// What was paid in from outside.
    pub money_in: MoneySum,
    /// What was paid out of the bank.
    pub money_out: MoneySum,
    /// What was booked as interest; may be negative.
    pub interest: MoneySum,
    /// What transfers brought, less what they took: zero in all of a bank, but for those that were under
    /// way while it was audited.
    pub transferred: MoneySum,
    /// What the accounts hold.
    pub held: MoneySum,
    /// Whether it adds up.
    pub balanced: bool,
}

impl FromWire<v1::AuditBooks> for AuditBooks {
    fn from_wire(wire: v1::AuditBooks) -> Result<Self, Malformed> {
        let currency: Currency = parsed("currency_code", wire.currency_code)?;
        let sum = |field, text: &str| Ok(MoneySum { currency, minor_units: parsed(field, text)? });
        Ok(Self {
            money_in: sum("money_in", &wire.money_in)?,
            money_out: sum("money_out", &wire.money_out)?,
            interest: sum("interest", &wire.interest)?,
            transferred: sum("transferred", &wire.transferred)?,
            held: sum("held", &wire.held)?,
            balanced: wire.balanced,
        })
    }
}

json_object! { AuditBooks, |books| {
    "currency_code" => books.held.currency,
    "money_in" => books.money_in,
    "money_out" => books.money_out,
    "interest" => books.interest,
    "transferred" => books.transferred,
    "held" => books.held,
    "balanced" => books.balanced,
} }
