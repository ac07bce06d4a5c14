//! Checks a whole file: its pages, and that its tables agree.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bank_domain::{Account, AccountId, EntryId, Timestamp, audit::Verifier};
use redb::{
    DatabaseError, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    StorageError,
};

use super::{
    accounts::{self, StoredAccount},
    codec::{self, RecordedEntry, damaged_account},
    errors::storage_error,
    file,
    heads::RecentHeads,
    history::History,
    import,
    log::{self, EntryRef, LogRow},
    medium::Medium,
    options::EmbeddedOptions,
    tables::{
        META, MILESTONE_EVERY, MILESTONES, MilestoneKey, OWNERS, OwnerKey, Position, REQUESTS, ReadTables,
        RecordKey, Row,
    },
};
use crate::{RecordedOutcome, StoreError, clock::Timekeeper, placement::Placement};

/// The maximum number of problems that are described. The others are only counted.
const PROBLEMS_DESCRIBED_MAX: usize = 100;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The number of intact accounts.
    pub accounts: u64,
    /// The number of their entries.
    pub entries: u64,
    /// The number of intact request records.
    pub request_records: u64,
    /// Descriptions of problems, at most 100.
    pub problems: Vec<String>,
    /// The number of all problems.
    pub problem_count: u64,
}

impl CheckReport {
    fn note(&mut self, problem: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_DESCRIBED_MAX {
            self.problems.push(problem.into());
        }
    }

    fn note_error(&mut self, error: StoreError) {
        match error {
            StoreError::Corrupt(what) => self.note(what),
            error => self.note(error.to_string()),
        }
    }
}

/// Checks the file, which must not be open.
pub(super) fn check(medium: &dyn Medium, options: &EmbeddedOptions) -> Result<CheckReport, StoreError> {
    let mut checked = CheckReport::default();
    let (mut database, identity) = file::open(medium, options)?;
    match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => checked.note(
            "pages of the file were damaged and have been repaired, which may have taken the bank back to an \
             earlier commit",
        ),
        Ok(Err(DatabaseError::Storage(StorageError::Corrupted(what)))) => {
            checked.note(format!("pages of the file are damaged: {what}"));
        }
        Ok(Err(error)) => return Err(storage_error(error)),
        Err(_) => checked.note("pages of the file are damaged"),
    }
    if checked.problem_count > 0 {
        // redb refuses to continue with a database that it has found to be damaged.
        drop(database);
        database = file::open(medium, options)?.0;
    }
    let transaction = database.begin_read()?;
    if import::is_marked(&transaction.open_table(META)?)? {
        checked.note("an import into this bank was interrupted; import the file again");
    }
    let recent = readable(|| RecentHeads::read(&transaction, identity.placement));
    let recent = recent.unwrap_or_else(|error| {
        checked.note_error(error);
        RecentHeads::default()
    });
    let walk = Walk {
        placement: identity.placement,
        recent,
        tables: ReadTables::open(&transaction)?,
        milestones: transaction.open_table(MILESTONES)?,
        owners: transaction.open_table(OWNERS)?,
        requests: transaction.open_table(REQUESTS)?,
    };
    if let Err(error) = readable(|| walk.all(&options.clock, &mut checked)) {
        checked.note_error(error);
    }
    Ok(checked)
}

/// Reads data that may be damaged so badly that redb panics.
fn readable<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("pages of the file cannot be read".to_owned())))
}

/// The tables of the file.
struct Walk {
    placement: Placement,
    recent: RecentHeads,
    tables: ReadTables,
    milestones: ReadOnlyTable<MilestoneKey, Position>,
    owners: ReadOnlyTable<OwnerKey, ()>,
    requests: ReadOnlyTable<RecordKey, Row>,
}

impl Walk {
    fn all(&self, clock: &Timekeeper, checked: &mut CheckReport) -> Result<(), StoreError> {
        let (now, ahead_max) = (clock.estimate(), clock.ahead_max());
        let mut owned = 0;
        let mut milestones = 0;
        let mut ahead = Vec::new();
        for row in self.tables.accounts.iter()? {
            let (key, row) = row?;
            match readable(|| self.account(key.value(), row.value())) {
                Ok(account) => {
                    checked.accounts += 1;
                    checked.entries += account.version;
                    milestones += account.version / MILESTONE_EVERY;
                    owned += u64::from(!account.owner.is_empty());
                    if account.updated_at.is_ahead_of(now, ahead_max) {
                        let (id, version, time) = (account.id, account.version, account.updated_at);
                        ahead.push(format!(
                            "account {id}: entry {version} is dated {time}, ahead of the clock, which shows {now}"
                        ));
                    }
                }
                Err(error) => checked.note_error(error),
            }
        }
        for row in self.requests.iter()? {
            let (key, row) = row?;
            match readable(|| self.request(key.value(), row.value())) {
                Ok(()) => checked.request_records += 1,
                Err(error) => checked.note_error(error),
            }
        }
        if checked.problem_count == 0 {
            // Look for rows that belong to no account.
            for (what, expected, found) in [
                ("entries", checked.entries, self.log_entries()?),
                ("milestones", milestones, self.milestones.len()?),
                ("accounts of owners", owned, self.owners.len()?),
            ] {
                if found != expected {
                    checked.note(format!("there are {found} {what}, and {expected} belong to accounts"));
                }
            }
        }
        for problem in ahead {
            checked.note(problem);
        }
        Ok(())
    }

    /// The number of entries in the log, whose positions must have no gaps.
    fn log_entries(&self) -> Result<u64, StoreError> {
        let mut newest = 0;
        for row in self.tables.log.iter()? {
            let (first, row) = row?;
            let row = LogRow::parse(first.value(), row.value())?;
            if first.value() != newest + 1 {
                let what = format!("entry {} follows entry {newest} of the log", first.value());
                return Err(StoreError::Corrupt(what));
            }
            newest = row.last();
        }
        Ok(newest)
    }

    /// Checks an account and its whole history.
    fn account(&self, (partition, id): (u32, &str), row: &[u8]) -> Result<Account, StoreError> {
        let id: AccountId = id.parse().map_err(|_| {
            StoreError::Corrupt(format!("the table of accounts has {id:?}, which is not an account id"))
        })?;
        let stored = accounts::from_row(&self.tables, &self.recent, &id, row)?.checked()?;
        let StoredAccount { account, head } = stored;
        require(partition == self.placement.of(&id), &id, "it is in the wrong partition")?;
        let owner = account.owner.as_str();
        let is_listed = owner.is_empty() || self.owners.get((owner, id.as_str()))?.is_some();
        require(is_listed, &id, "the list of its owner does not have it")?;
        let mut verifier = Verifier::new(&account);
        let history = History::new(&account, head.newest, &self.tables.log, &self.milestones);
        history.walk(EntryId { time: Timestamp::MIN, sequence: 0 }, |entry| {
            if entry.sequence.is_multiple_of(MILESTONE_EVERY) {
                let milestone = (account.id.as_str(), entry.time.unix_ms(), entry.sequence);
                let exists = self.milestones.get(milestone)?.is_some();
                require(exists, &account.id, "a milestone of its history is missing")?;
            }
            verifier.check(&entry);
            Ok(true)
        })?;
        verifier.finish().map_err(|fault| damaged_account(&id, &fault.to_string()))?;
        Ok(account)
    }

    fn request(&self, (_, _, account_id, _): (u64, &str, &str, &str), row: &[u8]) -> Result<(), StoreError> {
        let record = codec::record(row)?;
        let RecordedOutcome::Entry(RecordedEntry { position, id }) = record.outcome else { return Ok(()) };
        let account_id: AccountId = account_id.parse().map_err(|_| {
            StoreError::Corrupt(format!("a request record has {account_id:?}, which is not an account id"))
        })?;
        let stored = accounts::read(&self.tables, &self.recent, self.placement, &account_id)?;
        let missing = || damaged_account(&account_id, "it is missing, but a request record names it");
        let currency = stored.ok_or_else(missing)?.account.currency;
        let entry = EntryRef { position, sequence: Some(id.sequence) };
        let found = log::read(&self.tables.log, &account_id, currency, entry)?;
        require(found.entry.id() == id, &account_id, "a request record names another entry")
    }
}

fn require(holds: bool, id: &AccountId, otherwise: &str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(damaged_account(id, otherwise)) }
}
