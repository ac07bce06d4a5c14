//! Results as text: tables, and lists of names and values.

use std::time::Duration;

use bank_client::{
    Account, AuditBooks, AuditFinding, AuditSummary, Compounding, Entry, InterestBreakdown, ServerInfo,
    Transaction,
};
use bank_domain::visible;
use comfy_table::{
    CellAlignment::{self, Left, Right},
    Table, TableStyle,
};

use crate::text::Text;

/// A column of a table: its title, its alignment, and its cell in the row of an item. Numbers are aligned right.
pub(crate) type Column<T> = (&'static str, CellAlignment, fn(&T) -> String);

/// An item of a list that is shown as a row of a table.
pub(crate) trait Row: Sized + 'static {
    const COLUMNS: &'static [Column<Self>];
}

const TIME: Column<Entry> = ("TIME", Left, |entry| entry.created_at.to_string());
const TRANSACTION: Column<Entry> = ("TRANSACTION", Left, |entry| entry.transaction_id.to_string());
const ACCOUNT: Column<Entry> = ("ACCOUNT", Left, |entry| entry.account_id.to_string());
const KIND: Column<Entry> = ("KIND", Left, |entry| entry.kind.to_string());
const AMOUNT: Column<Entry> = ("AMOUNT", Right, |entry| entry.amount.to_string());
const BALANCE: Column<Entry> = ("BALANCE", Right, |entry| entry.balance_after.to_string());
const COUNTERPARTY: Column<Entry> =
    ("COUNTERPARTY", Left, |entry| entry.counterparty.as_ref().map(ToString::to_string).unwrap_or_default());
const DESCRIPTION: Column<Entry> = ("DESCRIPTION", Left, |entry| entry.description.clone());

/// The columns of `bank watch`, with their widths: later rows are not known when one is printed.
const WATCH_COLUMNS: [(usize, Column<Entry>); 7] = [
    (24, TIME),
    (16, ACCOUNT),
    (19, KIND),
    (14, AMOUNT),
    (14, BALANCE),
    (16, COUNTERPARTY),
    (0, DESCRIPTION),
];

const BOOKS_COLUMNS: [Column<AuditBooks>; 7] = [
    ("CURRENCY", Left, |books| books.held.currency.to_string()),
    ("IN", Right, |books| books.money_in.to_string()),
    ("OUT", Right, |books| books.money_out.to_string()),
    ("INTEREST", Right, |books| books.interest.to_string()),
    ("TRANSFERRED", Right, |books| books.transferred.to_string()),
    ("HELD", Right, |books| books.held.to_string()),
    ("BALANCED", Left, |books| if books.balanced { "yes" } else { "no" }.to_owned()),
];

impl Row for Entry {
    const COLUMNS: &'static [Column<Self>] =
        &[TIME, TRANSACTION, KIND, AMOUNT, BALANCE, COUNTERPARTY, DESCRIPTION];
}

impl Row for Account {
    const COLUMNS: &'static [Column<Self>] = &[
        ("ACCOUNT", Left, |account| account.account_id.to_string()),
        ("TYPE", Left, |account| account.account_type.to_string()),
        ("STATE", Left, |account| account.state.to_string()),
        ("BALANCE", Right, |account| account.balance.to_string()),
        ("OVERDRAFT", Right, |account| account.overdraft_limit.to_string()),
        ("OWNER", Left, |account| account.owner.clone()),
        ("UPDATED", Left, |account| account.updated_at.to_string()),
    ];
}

/// A table of items under the titles of its columns; empty if there are no items.
pub(crate) fn list<T>(columns: &[Column<T>], items: &[T]) -> Text {
    if items.is_empty() {
        return Text::default();
    }
    let mut table = Table::new();
    table.set_header(columns.iter().map(|&(title, ..)| title));
    for item in items {
        // Escaped before the layout, so that columns are as wide as what is shown.
        table.add_row(columns.iter().map(|(.., cell)| visible::line(&cell(item)).into_owned()));
    }
    render(table, columns.iter().map(|&(_, alignment, _)| alignment))
}

/// How often each reason occurred.
pub(crate) fn reasons<'a>(
    title: &'static str,
    reasons: impl IntoIterator<Item = (&'a str, &'a u64)>,
) -> Text {
    let items: Vec<_> = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), *count)).collect();
    let columns: [Column<(String, u64)>; 2] =
        [("REASON", Left, |(reason, _)| reason.clone()), (title, Right, |(_, count)| count.to_string())];
    list(&columns, &items)
}

/// Names and values, without those whose value is empty.
pub(crate) fn facts<const N: usize>(facts: [(&str, String); N]) -> Text {
    let mut table = Table::new();
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([name, &visible::line(&value)]);
    }
    render(table, [Left, Left])
}

/// Lays a table out without lines, with two blanks between columns and none at the end of a line.
fn render(mut table: Table, alignments: impl IntoIterator<Item = CellAlignment>) -> Text {
    table.load_style(TableStyle::new());
    for (column, alignment) in table.column_iter_mut().zip(alignments) {
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    Text::lines(&table.trim_fmt())
}

pub(crate) fn watch_titles() -> Text {
    watch_row(|&(title, ..)| title.to_owned())
}

pub(crate) fn watched(entry: &Entry) -> Text {
    watch_row(|(.., cell)| visible::line(&cell(entry)).into_owned())
}

fn watch_row(cell: impl Fn(&Column<Entry>) -> String) -> Text {
    let cells = WATCH_COLUMNS.map(|(width, column)| match column.1 {
        Right => format!("{:>width$}", cell(&column)),
        _ => format!("{:<width$}", cell(&column)),
    });
    Text::line(cells.join("  ").trim_end())
}

pub(crate) fn transaction(transaction: &Transaction) -> Text {
    list(&[ACCOUNT, KIND, AMOUNT, BALANCE, TIME, DESCRIPTION], &transaction.entries)
}

pub(crate) fn account(account: &Account) -> Text {
    let labels = account.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    facts([
        ("Account", account.account_id.to_string()),
        ("Type", account.account_type.to_string()),
        ("State", account.state.to_string()),
        ("Currency", account.currency.to_string()),
        ("Balance", account.balance.to_string()),
        ("Overdraft limit", account.overdraft_limit.to_string()),
        ("Owner", account.owner.clone()),
        ("Labels", labels.join(", ")),
        ("Entries", account.version.to_string()),
        ("Created", account.created_at.to_string()),
        ("Updated", account.updated_at.to_string()),
        ("Head hash", account.head_hash.to_string()),
    ])
}

pub(crate) fn finding(finding: &AuditFinding) -> Text {
    match &finding.account_id {
        Some(account_id) => format!("{}: account {account_id}: {}", finding.kind, finding.message),
        None => format!("{}: {}", finding.kind, finding.message),
    }
    .into()
}

/// The totals of an audit, and the books of each currency.
pub(crate) fn audit(summary: &AuditSummary) -> Text {
    let facts = facts([
        ("Accounts", summary.accounts_checked.to_string()),
        ("Entries", summary.entries_checked.to_string()),
        ("Findings", summary.findings.to_string()),
    ]);
    Text::stack([facts, list(&BOOKS_COLUMNS, &summary.books)])
}

/// What an export or import file contains.
pub(crate) fn counts(done: &str, accounts: u64, entries: u64, requests: u64) -> Text {
    format!("{done} {accounts} accounts with {entries} entries, and {requests} request records").into()
}

/// How an amount of interest was calculated, step by step.
pub(crate) fn breakdown(breakdown: &InterestBreakdown) -> Text {
    let terms = &breakdown.terms;
    let period = match &terms.period {
        Some(period) => format!("{} to {}, exclusive ({} days)", period.start, period.end, breakdown.days),
        None => "one year".to_owned(),
    };
    let compounding = match terms.compounding {
        Compounding::Simple => terms.compounding.to_string(),
        compounding => format!("{compounding}, {} times", breakdown.compounding_periods),
    };
    facts([
        ("Principal", breakdown.principal.to_string()),
        ("Rate", format!("{} % a year", terms.annual_interest_rate)),
        ("Period", period),
        ("Day count", terms.day_count.to_string()),
        ("Years", breakdown.year_fraction.clone()),
        ("Compounding", compounding),
        ("Growth factor", breakdown.growth_factor.clone()),
        ("Exact interest", breakdown.exact_interest.clone()),
        ("Rounding", terms.rounding_mode.to_string()),
        ("Interest", breakdown.interest.to_string()),
    ])
}

pub(crate) fn server_info(info: &ServerInfo) -> Text {
    let ServerInfo { store, limits, lost_writes, .. } = info;
    let caller = [
        (limits.calls_per_second_max, "calls per second"),
        (limits.calls_burst_max, "burst"),
        (limits.calls_in_flight_max, "in flight"),
        (limits.concurrent_batches_max, "batches in flight"),
    ];
    let caller = caller.into_iter().filter_map(|(max, what)| Some(format!("{} {what}", max?)));
    let caller = caller.collect::<Vec<_>>().join(", ");
    let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
    let lost = lost_writes.found_at.map_or("none found".to_owned(), |time| {
        let (entries, accounts) = (lost_writes.entries_min, lost_writes.accounts);
        format!("at least {entries} entries of {accounts} accounts, found {time}; see the server's log")
    });
    let batch = format!(
        "{} operations, {} bytes, {} in flight on a stream",
        limits.batch_operations_max, limits.batch_bytes_max, limits.stream_batches_max
    );
    facts([
        ("Version", info.version.clone()),
        ("Started", info.started_at.to_string()),
        ("Uptime", seconds(Duration::from_secs(info.uptime.as_secs()))),
        ("Bank", store.bank_id.clone()),
        ("Store", store.name.clone()),
        ("Durability", store.durability.level.to_string()),
        ("Replicas", store.durability.replicas.to_string()),
        ("Guarantee", store.durability.description.clone()),
        ("Problem", store.problem.clone().unwrap_or_default()),
        ("Lost writes", lost),
        (
            "Request limit",
            format!("{} bytes, {}", limits.message_bytes_max, seconds(limits.request_timeout_max)),
        ),
        ("Batch limit", batch),
        ("Caller limit", caller),
        (
            "Amount limit",
            limits.amount_minor_units_max.map(|max| format!("{max} minor units")).unwrap_or_default(),
        ),
        ("Page size", format!("{} items, at most {}", limits.page_size_default, limits.page_size_max)),
        (
            "Queue limit",
            format!("{} commands, {} per commit", limits.queue_commands_max, limits.batch_commands_max),
        ),
        ("Outcome timeout", seconds(limits.outcome_timeout)),
        ("Request ids kept", seconds(limits.request_retention)),
    ])
}
