//! Checks a whole file: its pages, and then that all that is in it fits together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bank_domain::{Account, AccountId, Entry, EntryKind};
use redb::{
    DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageError,
};

use super::{
    EmbeddedOptions, backup,
    codec::{self, EntryPlace, Linked},
    file::{self, storage_error},
    heads::Recent,
    history::{Place, entry_at},
    list::{Filed, filed, from_row},
    log::LogRow,
    medium::Medium,
    tables::{
        META, MILESTONE_EVERY, MILESTONES, MilestoneKey, OWNERS, OwnerKey, Position, REQUESTS, ReadTables,
        RequestKey, Row,
    },
};
use crate::{RecordedOutcome, StoreError, clock::Timekeeper, partition::Partitions};

/// How many problems are told in words; the others are counted.
const PROBLEMS_TOLD_MAX: usize = 100;

/// What a check of a file has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// How many accounts could be read.
    pub accounts: u64,
    /// How many entries, in the histories of those accounts.
    pub entries: u64,
    /// How many records of requests.
    pub request_records: u64,
    /// What is wrong, as far as there is room to tell it.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: u64,
}

impl CheckReport {
    fn note(&mut self, problem: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_TOLD_MAX {
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

/// Checks the file, which nobody else may have open.
pub(super) fn check(medium: &dyn Medium, options: &EmbeddedOptions) -> Result<CheckReport, StoreError> {
    let mut checked = CheckReport::default();
    let (mut database, identity) = file::open(medium, options)?;
    match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => checked.note(
            "pages of the file were not in order; they have been repaired, which may have taken the bank back \
             to an earlier commit",
        ),
        Ok(Err(DatabaseError::Storage(StorageError::Corrupted(what)))) => {
            checked.note(format!("pages of the file are damaged: {what}"));
        }
        Ok(Err(error)) => return Err(storage_error(error)),
        Err(_) => checked.note("pages of the file are damaged"),
    }
    if checked.problem_count > 0 {
        // redb does not let go on with what it has found to be damaged.
        drop(database);
        database = file::open(medium, options)?.0;
    }
    let transaction = database.begin_read().map_err(storage_error)?;
    if backup::is_marked(&transaction.open_table(META).map_err(storage_error)?)? {
        checked.note("an import into this bank was broken off; import the file again");
    }
    let recent = readable(|| Recent::read(&transaction, identity.partitions));
    let recent = recent.unwrap_or_else(|error| {
        checked.note_error(error);
        Recent::default()
    });
    let walk = || Walk::new(&transaction, recent, identity.partitions)?.all(&options.clock, &mut checked);
    if let Err(error) = readable(walk) {
        checked.note_error(error);
    }
    Ok(checked)
}

/// Reads what may be damaged so badly that redb panics.
fn readable<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("pages of the file cannot be read".to_owned())))
}

/// All that is in the file, at one instant.
struct Walk {
    partitions: Partitions,
    recent: Recent,
    tables: ReadTables,
    milestones: ReadOnlyTable<MilestoneKey, Position>,
    owners: ReadOnlyTable<OwnerKey, ()>,
    requests: ReadOnlyTable<RequestKey, Row>,
}

impl Walk {
    fn new(
        transaction: &ReadTransaction,
        recent: Recent,
        partitions: Partitions,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            partitions,
            recent,
            tables: ReadTables::open(transaction)?,
            milestones: transaction.open_table(MILESTONES).map_err(storage_error)?,
            owners: transaction.open_table(OWNERS).map_err(storage_error)?,
            requests: transaction.open_table(REQUESTS).map_err(storage_error)?,
        })
    }

    fn all(&self, clock: &Timekeeper, checked: &mut CheckReport) -> Result<(), StoreError> {
        let (now, ahead_max) = (clock.estimate(), clock.ahead_max());
        let mut owned = 0;
        let mut milestones = 0;
        let mut ahead = Vec::new();
        for row in self.tables.accounts.iter().map_err(storage_error)? {
            let (key, row) = row.map_err(storage_error)?;
            let account = readable(|| self.account(key.value(), row.value()));
            match account.and_then(|filed| readable(|| self.history(&filed)).map(|()| filed.account)) {
                Ok(account) => {
                    checked.accounts += 1;
                    checked.entries += account.version;
                    milestones += account.version / MILESTONE_EVERY;
                    owned += u64::from(!account.owner.is_empty());
                    if account.updated_at.is_ahead_of(now, ahead_max) {
                        ahead.push((account.id, account.version, account.updated_at));
                    }
                }
                Err(error) => checked.note_error(error),
            }
        }
        for row in self.requests.iter().map_err(storage_error)? {
            let (key, row) = row.map_err(storage_error)?;
            match readable(|| self.request(key.value(), row.value())) {
                Ok(()) => checked.request_records += 1,
                Err(error) => checked.note_error(error),
            }
        }
        if checked.problem_count == 0 {
            // What is there and belongs to no account.
            for (what, expected, found) in [
                ("entries", checked.entries, self.log_entries()?),
                ("milestones", milestones, self.milestones.len().map_err(storage_error)?),
                ("accounts of owners", owned, self.owners.len().map_err(storage_error)?),
            ] {
                if found != expected {
                    checked.note(format!("there are {found} {what}, and {expected} belong to accounts"));
                }
            }
        }
        for (id, version, time) in ahead {
            checked.note(format!(
                "account {id}: entry {version} is dated {time}, ahead of the clock, which says {now}"
            ));
        }
        Ok(())
    }

    /// How many entries are in the log, which must be dense.
    fn log_entries(&self) -> Result<u64, StoreError> {
        let mut newest = 0;
        for row in self.tables.log.iter().map_err(storage_error)? {
            let (first, row) = row.map_err(storage_error)?;
            let row = LogRow::parse(first.value(), row.value())?;
            if first.value() != newest + 1 {
                let what = format!("entry {} follows entry {newest} of the log", first.value());
                return Err(StoreError::Corrupt(what));
            }
            newest = row.last();
        }
        Ok(newest)
    }

    fn account(&self, (partition, id): (u32, &str), row: &[u8]) -> Result<Filed, StoreError> {
        let id: AccountId = id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("{id:?} is among the accounts, and no account id")))?;
        let filed = from_row(&self.tables, &self.recent, &id, row)?;
        require(
            partition == self.partitions.of(&id),
            &id,
            "it is in a partition that it does not belong to",
        )?;
        let owner = filed.account.owner.as_str();
        let is_listed =
            owner.is_empty() || self.owners.get((owner, id.as_str())).map_err(storage_error)?.is_some();
        require(is_listed, &id, "its owner's list does not have it")?;
        Ok(filed)
    }

    /// Reads a whole history, newest first.
    fn history(&self, filed: &Filed) -> Result<(), StoreError> {
        let Filed { account, head } = filed;
        let Account { id, currency, .. } = account;
        let (mut balance, mut time) = (account.balance, account.updated_at);
        let mut later: Option<Entry> = None;
        let mut position = head.newest;
        for sequence in (1..=account.version).rev() {
            let place = Place { position, sequence: Some(sequence) };
            let Linked { entry, previous } = entry_at(&self.tables.log, id, *currency, place)?;
            let before = balance.checked_add(entry.amount.checked_neg().unwrap_or(entry.amount));
            require(entry.balance_after == balance, id, "its balances do not add up")?;
            require(
                entry.time == time || (sequence < account.version && entry.time < time),
                id,
                "its time runs backwards",
            )?;
            let is_chained = match &later {
                None => entry.hash == account.head,
                Some(later) => later.chained_to(&entry.hash) == later.hash,
            };
            require(is_chained, id, "its chain of hashes is broken")?;
            if sequence.is_multiple_of(MILESTONE_EVERY) {
                let milestone = (id.as_str(), entry.time.unix_ms(), sequence);
                let found = self.milestones.get(milestone).map_err(storage_error)?;
                let is_right = found.is_some_and(|found| found.value() == position);
                require(is_right, id, "a milestone of its history is missing or wrong")?;
            }
            balance = before.map_err(|_| damage(id, "its balances do not add up"))?;
            time = entry.time;
            match previous {
                Some(previous) => position = previous,
                None => {
                    let is_opening = matches!(entry.kind, EntryKind::AccountOpened { .. });
                    require(is_opening, id, "it was never opened")?;
                    let is_chained = entry.chained_to(&account.genesis()) == entry.hash;
                    require(is_chained, id, "its chain of hashes is broken")?;
                }
            }
            later = Some(entry);
        }
        require(balance.minor_units == 0 && time == account.opened_at, id, "its beginning is not its opening")
    }

    fn request(&self, (_, _, account_id, _): (u64, &str, &str, &str), row: &[u8]) -> Result<(), StoreError> {
        let record = codec::record(row)?;
        let RecordedOutcome::Entry(EntryPlace { position, id }) = record.outcome else { return Ok(()) };
        let account_id: AccountId = account_id.parse().map_err(|_| {
            StoreError::Corrupt(format!("a request is of {account_id:?}, which is no account id"))
        })?;
        let account = filed(&self.tables, &self.recent, self.partitions, &account_id)?;
        let account =
            account.ok_or_else(|| damage(&account_id, "it is gone, but not the record of a request"))?;
        let place = Place { position, sequence: Some(id.sequence) };
        let found = entry_at(&self.tables.log, &account_id, account.account.currency, place)?;
        require(found.entry.id() == id, &account_id, "the record of a request names another entry")
    }
}

fn require(holds: bool, id: &AccountId, otherwise: &str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(damage(id, otherwise)) }
}

fn damage(id: &AccountId, what: &str) -> StoreError {
    StoreError::Corrupt(format!("account {id}: {what}"))
}
