//! Audits: what the bank says about itself.

use std::time::Duration;

use bank_domain::{AccountId, Currency, MoneySum};
use bank_proto::v1::{self, audit_accounts_response as response};
use futures::stream::BoxStream;

use crate::{
    AuditFindingKind, BankClient, Error,
    choice::Choice as _,
    method::Stub,
    news::{self, News},
    wire::{FromWire, Malformed, all, count, count_if_any, parsed, parsed_if_any},
};

/// A piece of news of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditNews {
    /// How far it is; comes at least once a second.
    Progress(AuditProgress),
    /// Something is wrong.
    Finding(AuditFinding),
    /// It is done. Nothing comes after this.
    Summary(AuditSummary),
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditProgress {
    /// Accounts that have been checked.
    pub accounts_checked: u64,
    /// How many there are, if that is known.
    pub accounts_total: Option<u64>,
    /// Entries that have been checked.
    pub entries_checked: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFinding {
    /// What kind of thing.
    pub kind: AuditFindingKind,
    /// With which account; none for the bank as a whole.
    pub account_id: Option<AccountId>,
    /// The first entry that is wrong, if it is about entries.
    pub sequence: Option<u64>,
    /// What was found, for people.
    pub message: String,
}

/// What an audit came to. All is well if it has no findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSummary {
    /// Accounts that were checked.
    pub accounts_checked: u64,
    /// Entries that were checked.
    pub entries_checked: u64,
    /// How many findings there were.
    pub findings: u64,
    /// What came in, went out and is held, in each currency.
    pub books: Vec<AuditBooks>,
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

impl FromWire<v1::AuditAccountsResponse> for AuditNews {
    fn from_wire(wire: v1::AuditAccountsResponse) -> Result<Self, Malformed> {
        match wire.news {
            Some(response::News::Progress(wire)) => FromWire::from_wire(wire).map(Self::Progress),
            Some(response::News::Finding(wire)) => FromWire::from_wire(wire).map(Self::Finding),
            Some(response::News::Summary(wire)) => FromWire::from_wire(wire).map(Self::Summary),
            None => Err(Malformed("news is missing".to_owned())),
        }
    }
}

impl FromWire<v1::AuditProgress> for AuditProgress {
    fn from_wire(wire: v1::AuditProgress) -> Result<Self, Malformed> {
        Ok(Self {
            accounts_checked: count("accounts_checked", wire.accounts_checked)?,
            accounts_total: count_if_any("accounts_total", wire.accounts_total)?,
            entries_checked: count("entries_checked", wire.entries_checked)?,
        })
    }
}

impl FromWire<v1::AuditFinding> for AuditFinding {
    fn from_wire(wire: v1::AuditFinding) -> Result<Self, Malformed> {
        Ok(Self {
            kind: AuditFindingKind::from_wire(wire.kind),
            account_id: parsed_if_any("account_id", &wire.account_id)?,
            sequence: count_if_any("sequence", wire.sequence)?,
            message: wire.message,
        })
    }
}

impl FromWire<v1::AuditSummary> for AuditSummary {
    fn from_wire(wire: v1::AuditSummary) -> Result<Self, Malformed> {
        Ok(Self {
            accounts_checked: count("accounts_checked", wire.accounts_checked)?,
            entries_checked: count("entries_checked", wire.entries_checked)?,
            findings: count("findings", wire.findings)?,
            books: all(wire.books)?,
        })
    }
}

impl FromWire<v1::AuditBooks> for AuditBooks {
    fn from_wire(wire: v1::AuditBooks) -> Result<Self, Malformed> {
        let currency: Currency = parsed("currency_code", &wire.currency_code)?;
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

impl News<v1::AuditAccountsResponse> for AuditNews {
    const WHAT: &str = "audit";

    fn is_last(&self) -> bool {
        matches!(self, Self::Summary(_))
    }
}

/// The news of an audit, which may be late by `silence_max`.
pub(crate) fn news(
    client: BankClient,
    request: v1::AuditAccountsRequest,
    silence_max: Duration,
) -> BoxStream<'static, Result<AuditNews, Error>> {
    let call = async move {
        let send = |mut stub: Stub, request| async move { stub.audit_accounts(request).await };
        client.replies(request, send).await
    };
    news::news(call, silence_max)
}
