//! Results as JSON: the fields of the API, with times in RFC 3339 and amounts also as decimals.

#![expect(non_camel_case_types, reason = "`object!` names type parameters after fields")]

use std::time::Duration;

use bank_client::{
    Account, AccountReceipt, AuditFinding, AuditSummary, BackupCounts, Balance, Entry, ExportSummary,
    InterestBreakdown, InterestReceipt, InterestTerms, Money, MoneySum, Receipt, ServerInfo, Transaction,
    WatchNews,
};
use serde::Serialize;
use serde_json::json;

/// A result that has a JSON document.
pub(crate) trait Json {
    fn json(&self) -> impl Serialize;
}

/// A JSON object whose fields keep this order. (`json!` sorts them.)
macro_rules! object {
    ($($field:ident: $value:expr),+ $(,)?) => {{
        // The type of each field is a parameter with the name of the field.
        #[derive(Serialize)]
        struct Object<$($field),+> { $($field: $field),+ }
        Object { $($field: $value),+ }
    }};
}

impl<J: Json> Json for Option<J> {
    fn json(&self) -> impl Serialize {
        self.as_ref().map(Json::json)
    }
}

impl<J: Json> Json for Vec<J> {
    fn json(&self) -> impl Serialize {
        self.iter().map(Json::json).collect::<Vec<_>>()
    }
}

impl Json for Money {
    fn json(&self) -> impl Serialize {
        object! {
            currency_code: self.currency.code(),
            minor_units: self.minor_units,
            amount: self.to_decimal(),
        }
    }
}

impl Json for MoneySum {
    fn json(&self) -> impl Serialize {
        object! { minor_units: self.minor_units.to_string(), amount: self.to_decimal() }
    }
}

impl Json for Account {
    fn json(&self) -> impl Serialize {
        object! {
            account_id: &self.account_id,
            account_type: self.account_type.as_str(),
            currency_code: self.currency.code(),
            owner: &self.owner,
            state: self.state.as_str(),
            balance: self.balance.json(),
            overdraft_limit: self.overdraft_limit.json(),
            version: self.version,
            create_time: self.created_at.to_string(),
            update_time: self.updated_at.to_string(),
            labels: &self.labels,
            head_hash: self.head_hash.to_string(),
        }
    }
}

impl Json for Entry {
    fn json(&self) -> impl Serialize {
        object! {
            transaction_id: self.transaction_id.as_str(),
            account_id: &self.account_id,
            sequence: self.sequence,
            kind: self.kind.as_str(),
            amount: self.amount.json(),
            balance_after: self.balance_after.json(),
            create_time: self.created_at.to_string(),
            counterparty_account_id: &self.counterparty,
            request_id: &self.request_id,
            description: &self.description,
            interest_terms: self.interest_terms.json(),
            overdraft_limit: self.overdraft_limit.json(),
            entry_hash: self.entry_hash.to_string(),
        }
    }
}

impl Json for InterestTerms {
    fn json(&self) -> impl Serialize {
        object! {
            annual_interest_rate: &self.annual_interest_rate,
            start_date: self.period.as_ref().map(|period| &period.start),
            end_date: self.period.as_ref().map(|period| &period.end),
            day_count: self.day_count.as_str(),
            compounding: self.compounding.as_str(),
            rounding_mode: self.rounding_mode.as_str(),
        }
    }
}

impl Json for InterestBreakdown {
    fn json(&self) -> impl Serialize {
        object! {
            terms: self.terms.json(),
            principal: self.principal.json(),
            days: self.days,
            year_fraction: &self.year_fraction,
            compounding_periods: self.compounding_periods,
            growth_factor: &self.growth_factor,
            exact_interest: &self.exact_interest,
            interest: self.interest.json(),
        }
    }
}

impl Json for Receipt {
    fn json(&self) -> impl Serialize {
        object! {
            account_id: &self.account_id,
            message: &self.message,
            balance: self.balance.json(),
            entry: self.entry.json(),
            replayed: self.replayed,
        }
    }
}

impl Json for InterestReceipt {
    fn json(&self) -> impl Serialize {
        object! {
            account_id: &self.account_id,
            message: &self.message,
            balance: self.balance.json(),
            entry: self.entry.json(),
            replayed: self.replayed,
            interest: self.interest.json(),
            breakdown: self.breakdown.json(),
        }
    }
}

impl Json for AccountReceipt {
    fn json(&self) -> impl Serialize {
        object! {
            account_id: &self.account.account_id,
            message: &self.message,
            balance: self.account.balance.json(),
            entry: self.entry.json(),
            replayed: self.replayed,
            account: self.account.json(),
        }
    }
}

impl Json for Balance {
    fn json(&self) -> impl Serialize {
        object! {
            account_id: &self.account_id,
            message: &self.message,
            balance: self.balance.json(),
            available: self.available.json(),
            update_time: self.updated_at.to_string(),
        }
    }
}

impl Json for Transaction {
    fn json(&self) -> impl Serialize {
        object! {
            transaction_id: self.transaction_id.as_str(),
            create_time: self.created_at.to_string(),
            entries: self.entries.json(),
        }
    }
}

impl Json for WatchNews {
    fn json(&self) -> impl Serialize {
        object! { entries: self.entries.json(), resume_token: self.resume_token.as_str() }
    }
}

impl Json for ServerInfo {
    fn json(&self) -> impl Serialize {
        let Self { store, limits, lost_writes, .. } = self;
        json!({
            "version": self.version,
            "start_time": self.started_at.to_string(),
            "uptime_seconds": self.uptime.as_secs(),
            "store": {
                "kind": store.kind,
                "name": store.name,
                "bank_id": store.bank_id,
                "durability": {
                    "level": store.durability.level.as_str(),
                    "replicas": store.durability.replicas,
                    "description": store.durability.description,
                },
                "problem": store.problem,
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
                "accounts": lost_writes.accounts,
                "entries_min": lost_writes.entries_min,
                "found_time": lost_writes.found_at.map(|time| time.to_string()),
            },
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Json for AuditFinding {
    fn json(&self) -> impl Serialize {
        let finding = object! {
            kind: self.kind.as_str(),
            account_id: &self.account_id,
            sequence: self.sequence,
            message: &self.message,
        };
        object! { finding: finding }
    }
}

impl Json for AuditSummary {
    fn json(&self) -> impl Serialize {
        let books = self.books.iter().map(|books| {
            object! {
                currency_code: books.held.currency.code(),
                money_in: books.money_in.json(),
                money_out: books.money_out.json(),
                interest: books.interest.json(),
                transferred: books.transferred.json(),
                held: books.held.json(),
                balanced: books.balanced,
            }
        });
        let summary = object! {
            accounts_checked: self.accounts_checked,
            entries_checked: self.entries_checked,
            findings: self.findings,
            books: books.collect::<Vec<_>>(),
        };
        object! { summary: summary }
    }
}

impl Json for BackupCounts {
    fn json(&self) -> impl Serialize {
        json!({"accounts": self.accounts, "entries": self.entries, "requests": self.requests})
    }
}

impl Json for ExportSummary {
    fn json(&self) -> impl Serialize {
        let BackupCounts { accounts, entries, requests } = self.counts;
        json!({
            "accounts": accounts,
            "entries": entries,
            "requests": requests,
            "of_one_instant": self.of_one_instant,
        })
    }
}

/// What is wrong with a line of JSON, without the position: it counts within the line.
pub(crate) fn problem(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    problem.split_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem).to_owned()
}
