//! Results as aligned columns.

use std::time::Duration;

use bank_client::{
    Account, AccountId, AuditBooks, AuditFinding, AuditSummary, BackupCounts, Compounding, Entry,
    InterestBreakdown, ServerInfo, Transaction,
};
use comfy_table::{
    CellAlignment::{self, Left, Right},
    Table, TableStyle,
};

use bank_domain::visible;

use crate::{apply::Tally, bench, text::Text};

/// An item of a list, as the cells of a row.
pub(crate) trait Row {
    /// The titles of the columns, with those of numbers aligned to the right.
    const COLUMNS: &'static [(&'static str, CellAlignment)];

    fn cells(&self) -> Vec<String>;
}

impl Row for Entry {
    const COLUMNS: &'static [(&'static str, CellAlignment)] = &[
        ("TIME", Left),
        ("TRANSACTION", Left),
        ("KIND", Left),
        ("AMOUNT", Right),
        ("BALANCE", Right),
        ("COUNTERPARTY", Left),
        ("DESCRIPTION", Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.created_at.to_string(),
            self.transaction_id.to_string(),
            self.kind.to_string(),
            self.amount.to_string(),
            self.balance_after.to_string(),
            self.counterparty.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.description.clone(),
        ]
    }
}

impl Row for Account {
    const COLUMNS: &'static [(&'static str, CellAlignment)] = &[
        ("ACCOUNT", Left),
        ("TYPE", Left),
        ("STATE", Left),
        ("BALANCE", Right),
        ("OVERDRAFT", Right),
        ("OWNER", Left),
        ("UPDATED", Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account_id.to_string(),
            self.account_type.to_string(),
            self.state.to_string(),
            self.balance.to_string(),
            self.overdraft_limit.to_string(),
            self.owner.clone(),
            self.updated_at.to_string(),
        ]
    }
}

/// The rows under the titles of their columns.
pub(crate) fn list<R: Row>(rows: &[R]) -> Text {
    titled(R::COLUMNS, rows.iter().map(Row::cells))
}

/// The titles above [`watched`] entries.
pub(crate) fn watch_titles() -> Text {
    live_row(["TIME", "ACCOUNT", "KIND", "AMOUNT", "BALANCE", "COUNTERPARTY", "DESCRIPTION"])
}

/// An entry as it comes: nobody knows how wide those after it are.
pub(crate) fn watched(entry: &Entry) -> Text {
    live_row([
        &entry.created_at.to_string(),
        entry.account_id.as_str(),
        entry.kind.as_str(),
        &entry.amount.to_string(),
        &entry.balance_after.to_string(),
        entry.counterparty.as_ref().map_or("", AccountId::as_str),
        &entry.description,
    ])
}

fn live_row([time, account, kind, amount, balance, counterparty, description]: [&str; 7]) -> Text {
    let description = visible::line(description);
    let row = format!(
        "{time:<24}  {account:<16}  {kind:<19}  {amount:>14}  {balance:>14}  {counterparty:<16}  {description}"
    );
    Text::line(row.trim_end())
}

/// What a movement did to each account.
pub(crate) fn transaction(transaction: &Transaction) -> Text {
    let cells = |entry: &Entry| {
        vec![
            entry.account_id.to_string(),
            entry.kind.to_string(),
            entry.amount.to_string(),
            entry.balance_after.to_string(),
            entry.created_at.to_string(),
            entry.description.clone(),
        ]
    };
    let columns = [
        ("ACCOUNT", Left),
        ("KIND", Left),
        ("AMOUNT", Right),
        ("BALANCE", Right),
        ("TIME", Left),
        ("DESCRIPTION", Left),
    ];
    titled(&columns, transaction.entries.iter().map(cells))
}

/// An account with all that is known of it, a line for each.
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
        ("Newest hash", account.head_hash.to_string()),
    ])
}

/// Something that an audit has found: where, and what.
pub(crate) fn finding(finding: &AuditFinding) -> Text {
    match &finding.account_id {
        Some(account_id) => format!("{}: account {account_id}: {}", finding.kind, finding.message),
        None => format!("{}: {}", finding.kind, finding.message),
    }
    .into()
}

/// What came of a load.
pub(crate) fn bench(report: &bench::Report) -> Text {
    let per_second = |rate: u32| format!(", {rate} a second");
    let latency = |latency: Duration| format!("{:.3} ms", latency.as_secs_f64() * 1e3);
    let facts = facts([
        (
            "Load",
            format!(
                "{}{}, {} connections, {} in flight on each{}",
                report.op(),
                if report.batch > 1 { format!(" in batches of {}", report.batch) } else { String::new() },
                report.connections,
                report.in_flight,
                report.rate.map(per_second).unwrap_or_default()
            ),
        ),
        ("Accounts", format!("{}, skew {}", report.accounts, report.skew)),
        ("Operations", format!("{} in {:.3} s", report.operations, report.took.as_secs_f64())),
        ("A second", format!("{:.1}", report.operations_per_second())),
        ("Latency p50", latency(report.p50)),
        ("p90", latency(report.p90)),
        ("p99", latency(report.p99)),
        ("p99.9", latency(report.p999)),
        ("max", latency(report.max)),
        ("Never begun", report.rate.map(|_| report.never_begun.to_string()).unwrap_or_default()),
        ("Limited by", report.limited_by.join(", ")),
        ("Errors", report.errors.values().sum::<u64>().to_string()),
    ]);
    if report.errors.is_empty() {
        return facts;
    }
    let rows = report.errors.iter().map(|(reason, count)| vec![(*reason).to_owned(), count.to_string()]);
    Text::stack([facts, titled(&[("REASON", Left), ("COUNT", Right)], rows)])
}

/// What an audit came to, and the books of each currency.
pub(crate) fn audit(summary: &AuditSummary) -> Text {
    let facts = facts([
        ("Accounts", summary.accounts_checked.to_string()),
        ("Entries", summary.entries_checked.to_string()),
        ("Findings", summary.findings.to_string()),
    ]);
    let columns = [
        ("CURRENCY", Left),
        ("IN", Right),
        ("OUT", Right),
        ("INTEREST", Right),
        ("TRANSFERRED", Right),
        ("HELD", Right),
        ("BALANCED", Left),
    ];
    let cells = |books: &AuditBooks| {
        let sums = [books.money_in, books.money_out, books.interest, books.transferred, books.held];
        let balanced = if books.balanced { "yes" } else { "no" };
        std::iter::once(books.held.currency.to_string())
            .chain(sums.iter().map(ToString::to_string))
            .chain([balanced.to_owned()])
            .collect()
    };
    if summary.books.is_empty() {
        return facts;
    }
    Text::stack([facts, titled(&columns, summary.books.iter().map(cells))])
}

/// What became of the lines of a file, and why.
pub(crate) fn tally(tally: &Tally) -> Text {
    let Tally { dry_run, lines, applied, already_applied, rejected, unknown, not_attempted, reasons, .. } =
        tally;
    let names = match dry_run {
        true => ["Would be applied", "Would be rejected", "Not checked"],
        false => ["Applied", "Rejected", "Not attempted"],
    };
    let facts = facts([
        ("Lines", lines.to_string()),
        (names[0], applied.to_string()),
        ("Already applied", already_applied.to_string()),
        (names[1], rejected.to_string()),
        ("Unknown", unknown.to_string()),
        (names[2], not_attempted.to_string()),
    ]);
    if reasons.is_empty() {
        return facts;
    }
    let columns = [("REASON", Left), ("LINES", Right)];
    let rows = reasons.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]);
    Text::stack([facts, titled(&columns, rows)])
}

/// What is in the file of a bank.
pub(crate) fn counts(done: &str, counts: &BackupCounts) -> Text {
    let BackupCounts { accounts, entries, requests } = counts;
    format!("{done} {accounts} accounts with {entries} entries, and {requests} records of requests").into()
}

/// How an amount of interest came about, a line for each step.
pub(crate) fn breakdown(breakdown: &InterestBreakdown) -> Text {
    let terms = &breakdown.terms;
    let period = match &terms.period {
        Some(period) => {
            format!("{} up to, not including, {} ({} days)", period.start, period.end, breakdown.days)
        }
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
        ("Growth", breakdown.growth_factor.clone()),
        ("Exact interest", breakdown.exact_interest.clone()),
        ("Rounding", terms.rounding_mode.to_string()),
        ("Interest", breakdown.interest.to_string()),
    ])
}

/// What a server is and what it promises, a line for each.
pub(crate) fn server_info(info: &ServerInfo) -> Text {
    let ServerInfo { store, limits, lost_writes, .. } = info;
    let caller = [
        (limits.calls_per_second_max, "calls a second"),
        (limits.calls_burst_max, "at once"),
        (limits.calls_in_flight_max, "in flight"),
        (limits.concurrent_batches_max, "batches in flight"),
    ];
    let caller = caller.into_iter().filter_map(|(max, what)| Some(format!("{} {what}", max?)));
    let caller = caller.collect::<Vec<_>>().join(", ");
    let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
    let lost = match lost_writes.found_at {
        None => "none that it knows of".to_owned(),
        Some(time) => format!(
            "at least {} entries of {} accounts, found {time}: see its log",
            lost_writes.entries_min, lost_writes.accounts
        ),
    };
    facts([
        ("Version", info.version.clone()),
        ("Started", info.started_at.to_string()),
        ("Uptime", seconds(Duration::from_secs(info.uptime.as_secs()))),
        ("Bank", store.bank_id.clone()),
        ("Store", store.name.clone()),
        ("Durability", store.durability.level.to_string()),
        ("Replicas", store.durability.replicas.to_string()),
        ("That means", store.durability.description.clone()),
        ("Problem", store.problem.clone().unwrap_or_default()),
        ("Lost writes", lost),
        ("Request", format!("{} bytes, {}", limits.message_bytes_max, seconds(limits.request_timeout_max))),
        (
            "Batch",
            format!(
                "{} operations, {} bytes, {} at once on a stream",
                limits.batch_operations_max, limits.batch_bytes_max, limits.stream_batches_max
            ),
        ),
        ("Caller", caller),
        (
            "Amount",
            limits.amount_minor_units_max.map_or_else(String::new, |max| format!("{max} minor units")),
        ),
        ("Page", format!("{} items, {} at most", limits.page_size_default, limits.page_size_max)),
        ("Queue", format!("{} changes, {} a commit", limits.queue_commands_max, limits.batch_commands_max)),
        ("Unknown after", seconds(limits.outcome_timeout)),
        ("Request ids kept", seconds(limits.request_retention)),
    ])
}

/// Names and values, less those without a value.
fn facts<const N: usize>(facts: [(&str, String); N]) -> Text {
    let mut table = Table::new();
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([name, &visible::line(&value)]);
    }
    render(table, [Left, Left])
}

fn titled(columns: &[(&str, CellAlignment)], rows: impl Iterator<Item = Vec<String>>) -> Text {
    let mut table = Table::new();
    // Before they are laid out, so that a cell stays on its line and columns are as wide as what is shown.
    let rows =
        rows.map(|cells| cells.iter().map(|cell| visible::line(cell).into_owned()).collect::<Vec<_>>());
    table.set_header(columns.iter().map(|&(title, _)| title)).add_rows(rows);
    render(table, columns.iter().map(|&(_, alignment)| alignment))
}

/// Without lines, two blanks between columns and none at the end.
fn render(mut table: Table, alignments: impl IntoIterator<Item = CellAlignment>) -> Text {
    table.load_style(TableStyle::new());
    for (column, alignment) in table.column_iter_mut().zip(alignments) {
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    Text::lines(&table.trim_fmt())
}
