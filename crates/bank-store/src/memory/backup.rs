//! Records in order, and imports.

use std::sync::Arc;

use async_trait::async_trait;
use bank_domain::Change;

use super::{MemoryStore, MutexGuard, Record, State};
use crate::{
    Backup, HistoryPart, ImportBatch, ImportBegun, ImportId, KeptOutcome, KeptRequest, RequestsQuery,
    StoreError,
    backup::{RequestsPage, taken_over, without_entry},
};

/// The newest import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    UnderWay(ImportId),
    Over(ImportId),
}

impl State {
    /// Whether it is half of an import.
    pub(super) fn is_marked(&self) -> bool {
        matches!(self.import, Some(Mark::UnderWay(_)))
    }

    fn clear(&mut self) {
        self.accounts.clear();
        self.listed.clear();
        self.by_owner.clear();
        self.records.clear();
    }
}

impl MemoryStore {
    fn importing(&self, import: &ImportId) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.import == Some(Mark::UnderWay(import.clone())) { Ok(state) } else { Err(taken_over()) }
    }

    fn end(&self, import: &ImportId, end: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let over = Some(Mark::Over(import.clone()));
        if self.state().import == over {
            return Ok(());
        }
        let mut state = self.importing(import)?;
        end(&mut state);
        state.import = over;
        Ok(())
    }
}

#[async_trait]
impl Backup for MemoryStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<KeptRequest>, StoreError> {
        let mut state = self.serving()?;
        state.records.forget(self.retention, self.clock.steady());
        let mut page = RequestsPage::new(query, self.partitions);
        // The newer window last.
        for record in state.records.iter() {
            page.offer(record.key.clone(), |key| {
                let Record { fingerprint, attempt, ref outcome, recorded_at, .. } = *record;
                Ok(KeptRequest { key, fingerprint, attempt, outcome: outcome.clone(), recorded_at })
            })?;
        }
        Ok(page.finish())
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportBegun, StoreError> {
        let mut state = self.state();
        if !state.is_marked() && !state.accounts.is_empty() {
            return Ok(ImportBegun::NotEmpty);
        }
        state.import = Some(Mark::UnderWay(import.clone()));
        state.clear();
        Ok(ImportBegun::Marked)
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let now = self.clock.estimate_seconds();
        let mut state = self.importing(import)?;
        for HistoryPart { account, entries } in &batch.histories {
            let written = state.accounts.get(&account.id).map_or(0, |history| history.entries.len());
            let account = Arc::new(account.clone());
            for entry in entries.iter().filter(|entry| entry.sequence > written as u64) {
                let change = Change { account: Arc::clone(&account), entry: Arc::new(entry.clone()) };
                state.write(&change, self.partitions);
            }
        }
        for request in &batch.requests {
            let KeptRequest { key, fingerprint, attempt, outcome, recorded_at } = request.clone();
            if let KeptOutcome::Entry(id) = outcome
                && state.entry(&key.account_id, id).is_none()
            {
                return Err(without_entry(&key, id));
            }
            let record = Record { key, fingerprint, attempt, outcome, recorded_at };
            state.records.import(record, now.saturating_sub(recorded_at), self.retention);
        }
        Ok(())
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, |_| {})
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end(import, State::clear)
    }
}
