//! Results as JSON: the fields of the API, with times in RFC 3339 and amounts also as decimals.

#![expect(clippy::struct_field_names, reason = "the names are those of the API")]

mod watch;

use std::{collections::BTreeMap, time::Duration};

use bank_client as client;
use serde::Serialize;
use serde_json::json;

use crate::{apply::Tally, bench};

/// A result that has a JSON document.
pub(crate) trait Json {
    fn json(&self) -> impl Serialize;
}

/// The answer of a bank that can serve, as `grpc.health.v1` spells it.
pub(crate) struct Serving;

impl Json for Serving {
    fn json(&self) -> impl Serialize {
        BTreeMap::from([("status", "SERVING")])
    }
}

#[derive(Serialize)]
pub(crate) struct Money {
    currency_code: &'static str,
    minor_units: i64,
    amount: String,
}

impl From<client::Money> for Money {
    fn from(money: client::Money) -> Self {
        Self {
            currency_code: money.currency.code(),
            minor_units: money.minor_units,
            amount: money.to_decimal(),
        }
    }
}

#[derive(Serialize)]
struct MoneySum {
    minor_units: String,
    amount: String,
}

impl From<client::MoneySum> for MoneySum {
    fn from(sum: client::MoneySum) -> Self {
        Self { minor_units: sum.minor_units.to_string(), amount: sum.to_decimal() }
    }
}

#[derive(Serialize)]
struct Account<'a> {
    account_id: &'a str,
    account_type: &'static str,
    currency_code: &'static str,
    owner: &'a str,
    state: &'static str,
    balance: Money,
    overdraft_limit: Money,
    version: u64,
    create_time: String,
    update_time: String,
    labels: &'a BTreeMap<String, String>,
    head_hash: String,
}

impl<'a> From<&'a client::Account> for Account<'a> {
    fn from(account: &'a client::Account) -> Self {
        Self {
            account_id: account.account_id.as_str(),
            account_type: account.account_type.as_str(),
            currency_code: account.currency.code(),
            owner: &account.owner,
            state: account.state.as_str(),
            balance: account.balance.into(),
            overdraft_limit: account.overdraft_limit.into(),
            version: account.version,
            create_time: account.created_at.to_string(),
            update_time: account.updated_at.to_string(),
            labels: &account.labels,
            head_hash: account.head_hash.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    transaction_id: &'a str,
    account_id: &'a str,
    sequence: u64,
    kind: &'static str,
    amount: Money,
    balance_after: Money,
    create_time: String,
    counterparty_account_id: Option<&'a str>,
    request_id: Option<&'a str>,
    description: &'a str,
    interest_terms: Option<InterestTerms<'a>>,
    overdraft_limit: Option<Money>,
    entry_hash: String,
}

impl<'a> From<&'a client::Entry> for Entry<'a> {
    fn from(entry: &'a client::Entry) -> Self {
        Self {
            transaction_id: entry.transaction_id.as_str(),
            account_id: entry.account_id.as_str(),
            sequence: entry.sequence,
            kind: entry.kind.as_str(),
            amount: entry.amount.into(),
            balance_after: entry.balance_after.into(),
            create_time: entry.created_at.to_string(),
            counterparty_account_id: entry.counterparty.as_ref().map(client::AccountId::as_str),
            request_id: entry.request_id.as_ref().map(client::RequestId::as_str),
            description: &entry.description,
            interest_terms: entry.interest_terms.as_ref().map(InterestTerms::from),
            overdraft_limit: entry.overdraft_limit.map(Money::from),
            entry_hash: entry.entry_hash.to_string(),
        }
    }
}

#[derive(Serialize)]
struct InterestTerms<'a> {
    annual_interest_rate: &'a str,
    start_date: Option<&'a str>,
    end_date: Option<&'a str>,
    day_count: &'static str,
    compounding: &'static str,
    rounding_mode: &'static str,
}

impl<'a> From<&'a client::InterestTerms> for InterestTerms<'a> {
    fn from(terms: &'a client::InterestTerms) -> Self {
        Self {
            annual_interest_rate: &terms.annual_interest_rate,
            start_date: terms.period.as_ref().map(|period| period.start.as_str()),
            end_date: terms.period.as_ref().map(|period| period.end.as_str()),
            day_count: terms.day_count.as_str(),
            compounding: terms.compounding.as_str(),
            rounding_mode: terms.rounding_mode.as_str(),
        }
    }
}

#[derive(Serialize)]
struct InterestBreakdown<'a> {
    terms: InterestTerms<'a>,
    principal: Money,
    days: u64,
    year_fraction: &'a str,
    compounding_periods: u64,
    growth_factor: &'a str,
    exact_interest: &'a str,
    interest: Money,
}

impl<'a> From<&'a client::InterestBreakdown> for InterestBreakdown<'a> {
    fn from(breakdown: &'a client::InterestBreakdown) -> Self {
        Self {
            terms: (&breakdown.terms).into(),
            principal: breakdown.principal.into(),
            days: breakdown.days,
            year_fraction: &breakdown.year_fraction,
            compounding_periods: breakdown.compounding_periods,
            growth_factor: &breakdown.growth_factor,
            exact_interest: &breakdown.exact_interest,
            interest: breakdown.interest.into(),
        }
    }
}

#[derive(Serialize)]
struct Receipt<'a> {
    account_id: &'a str,
    message: &'a str,
    balance: Money,
    entry: Entry<'a>,
    replayed: bool,
    #[serde(flatten)]
    more: Option<InterestResult<'a>>,
}

#[derive(Serialize)]
struct InterestResult<'a> {
    interest: Money,
    breakdown: InterestBreakdown<'a>,
}

impl Json for client::Receipt {
    fn json(&self) -> impl Serialize {
        Receipt {
            account_id: self.account_id.as_str(),
            message: &self.message,
            balance: self.balance.into(),
            entry: (&self.entry).into(),
            replayed: self.replayed,
            more: None,
        }
    }
}

impl Json for client::InterestReceipt {
    fn json(&self) -> impl Serialize {
        let more = InterestResult { interest: self.interest.into(), breakdown: (&self.breakdown).into() };
        Receipt {
            account_id: self.account_id.as_str(),
            message: &self.message,
            balance: self.balance.into(),
            entry: (&self.entry).into(),
            replayed: self.replayed,
            more: Some(more),
        }
    }
}

impl Json for client::AccountReceipt {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct AccountReceipt<'a> {
            account_id: &'a str,
            message: &'a str,
            balance: Money,
            entry: Entry<'a>,
            replayed: bool,
            account: Account<'a>,
        }
        AccountReceipt {
            account_id: self.account.account_id.as_str(),
            message: &self.message,
            balance: self.account.balance.into(),
            entry: (&self.entry).into(),
            replayed: self.replayed,
            account: (&self.account).into(),
        }
    }
}

impl Json for client::Balance {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Balance<'a> {
            account_id: &'a str,
            message: &'a str,
            balance: Money,
            available: Option<Money>,
            update_time: String,
        }
        Balance {
            account_id: self.account_id.as_str(),
            message: &self.message,
            balance: self.balance.into(),
            available: self.available.map(Money::from),
            update_time: self.updated_at.to_string(),
        }
    }
}

impl Json for client::Account {
    fn json(&self) -> impl Serialize {
        Account::from(self)
    }
}

impl Json for client::Entry {
    fn json(&self) -> impl Serialize {
        Entry::from(self)
    }
}

impl Json for client::Transaction {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Transaction<'a> {
            transaction_id: &'a str,
            create_time: String,
            entries: Vec<Entry<'a>>,
        }
        Transaction {
            transaction_id: self.transaction_id.as_str(),
            create_time: self.created_at.to_string(),
            entries: self.entries.iter().map(Entry::from).collect(),
        }
    }
}

impl Json for client::ServerInfo {
    fn json(&self) -> impl Serialize {
        let client::StoreInfo { kind, name, bank_id, durability, problem } = &self.store;
        let limits = &self.limits;
        json!({
            "version": self.version,
            "start_time": self.started_at.to_string(),
            "uptime_seconds": self.uptime.as_secs(),
            "store": {
                "kind": kind,
                "name": name,
                "bank_id": bank_id,
                "durability": {
                    "level": durability.level.as_str(),
                    "replicas": durability.replicas,
                    "description": durability.description,
                },
                "problem": problem,
            },
            "limits": {
                "message_bytes_max": limits.message_bytes_max,
                "reply_bytes_max": limits.reply_bytes_max,
                "header_bytes_max": limits.header_bytes_max,
                "concurrent_streams_max": limits.concurrent_streams_max,
                "page_size_default": limits.page_size_default,
                "page_size_max": limits.page_size_max,
                "queue_commands_max": limits.queue_commands_max,
                "batch_commands_max": limits.batch_commands_max,
                "request_timeout_max_ms": milliseconds(limits.request_timeout_max),
                "outcome_timeout_ms": milliseconds(limits.outcome_timeout),
                "request_retention_seconds": limits.request_retention.as_secs(),
                "batch_operations_max": limits.batch_operations_max,
                "batch_bytes_max": limits.batch_bytes_max,
                "stream_batches_max": limits.stream_batches_max,
                "calls_per_second_max": limits.calls_per_second_max,
                "calls_burst_max": limits.calls_burst_max,
                "calls_in_flight_max": limits.calls_in_flight_max,
                "concurrent_batches_max": limits.concurrent_batches_max,
                "amount_minor_units_max": limits.amount_minor_units_max,
            },
            "lost_writes": {
                "accounts": self.lost_writes.accounts,
                "entries_min": self.lost_writes.entries_min,
                "found_time": self.lost_writes.found_at.map(|time| time.to_string()),
            },
        })
    }
}

impl Json for Tally {
    fn json(&self) -> impl Serialize {
        let Self {
            dry_run,
            lines,
            applied,
            already_applied,
            rejected,
            unknown,
            not_attempted,
            removed,
            reasons,
        } = self;
        let (applied_key, rejected_key, not_attempted_key) = match dry_run {
            true => ("would_be_applied", "would_be_rejected", "not_checked"),
            false => ("applied", "rejected", "not_attempted"),
        };
        json!({
            "dry_run": dry_run,
            "lines": lines,
            applied_key: applied,
            "already_applied": already_applied,
            rejected_key: rejected,
            "unknown": unknown,
            not_attempted_key: not_attempted,
            "removed": removed,
            "reasons": reasons,
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Json for bench::Report {
    fn json(&self) -> impl Serialize {
        let us = |latency: Duration| latency.as_secs_f64() * 1e6;
        json!({
            "op": self.op(),
            "connections": self.connections,
            "inflight": self.in_flight,
            "accounts": self.accounts,
            "skew": self.skew,
            "batch": self.batch,
            "rate": self.rate,
            "operations": self.operations,
            "seconds": self.took.as_secs_f64(),
            "operations_per_second": self.operations_per_second(),
            "latency_us": {
                "p50": us(self.p50),
                "p90": us(self.p90),
                "p99": us(self.p99),
                "p99.9": us(self.p999),
                "max": us(self.max),
            },
            "errors": self.errors,
            "never_begun": self.never_begun,
            "limited_by": self.limited_by,
            "booked": {
                "deposits": self.deposits,
                "withdrawals": self.withdrawals,
                "transfers": self.transfers,
            },
        })
    }
}

impl Json for client::AuditFinding {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Finding<'a> {
            kind: &'static str,
            account_id: Option<&'a str>,
            sequence: Option<u64>,
            message: &'a str,
        }
        #[derive(Serialize)]
        struct News<'a> {
            finding: Finding<'a>,
        }
        News {
            finding: Finding {
                kind: self.kind.as_str(),
                account_id: self.account_id.as_ref().map(client::AccountId::as_str),
                sequence: self.sequence,
                message: &self.message,
            },
        }
    }
}

impl Json for client::AuditSummary {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Books {
            currency_code: &'static str,
            money_in: MoneySum,
            money_out: MoneySum,
            interest: MoneySum,
            transferred: MoneySum,
            held: MoneySum,
            balanced: bool,
        }
        #[derive(Serialize)]
        struct Summary {
            accounts_checked: u64,
            entries_checked: u64,
            findings: u64,
            books: Vec<Books>,
        }
        #[derive(Serialize)]
        struct News {
            summary: Summary,
        }
        let books = self.books.iter().map(|books| Books {
            currency_code: books.held.currency.code(),
            money_in: books.money_in.into(),
            money_out: books.money_out.into(),
            interest: books.interest.into(),
            transferred: books.transferred.into(),
            held: books.held.into(),
            balanced: books.balanced,
        });
        News {
            summary: Summary {
                accounts_checked: self.accounts_checked,
                entries_checked: self.entries_checked,
                findings: self.findings,
                books: books.collect(),
            },
        }
    }
}

/// What an import came to.
pub(crate) struct Imported(pub(crate) client::BackupCounts);

impl Json for Imported {
    fn json(&self) -> impl Serialize {
        let client::BackupCounts { accounts, entries, requests } = self.0;
        json!({"accounts": accounts, "entries": entries, "requests": requests})
    }
}

impl Json for client::ExportSummary {
    fn json(&self) -> impl Serialize {
        let client::BackupCounts { accounts, entries, requests } = self.counts;
        json!({
            "accounts": accounts,
            "entries": entries,
            "requests": requests,
            "of_one_instant": self.of_one_instant,
        })
    }
}
