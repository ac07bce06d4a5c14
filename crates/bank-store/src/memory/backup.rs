//! Export and import of a bank in memory.

use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;
use bank_domain::Change;

use super::{
    MemoryStore,
    state::{ImportState, State},
};
use crate::{
    Backup, HistoryPart, ImportBatch, ImportId, ImportStart, RecordedOutcome, RequestKey, RequestRecord,
    RequestsQuery, Store as _, StoreError,
    backup::{RequestsPage, taken_over},
};

impl MemoryStore {
    fn importing(&self, import: &ImportId) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.locked();
        match &state.import {
            ImportState::InProgress(current) if current == import => Ok(state),
            _ => Err(taken_over()),
        }
    }

    fn end_import(&self, import: &ImportId, end: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let ended = ImportState::Ended(import.clone());
        if self.locked().import == ended {
            return Ok(());
        }
        let mut state = self.importing(import)?;
        end(&mut state);
        state.import = ended;
        Ok(())
    }
}

#[async_trait]
impl Backup for MemoryStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        let mut state = self.serving()?;
        self.expire_records(&mut state);
        let mut page = RequestsPage::new(query, state.placement);
        for (key, record) in state.records.iter() {
            page.offer(key.clone(), |_| Ok(record.clone()))?;
        }
        Ok(page.finish())
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        let mut state = self.locked();
        if !state.histories.is_empty() && !matches!(state.import, ImportState::InProgress(_)) {
            return Ok(ImportStart::NotEmpty);
        }
        state.clear();
        state.import = ImportState::InProgress(import.clone());
        Ok(ImportStart::Started)
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let now = self.clock().estimate_seconds();
        let mut state = self.importing(import)?;
        for HistoryPart { account, entries } in &batch.histories {
            let written = state.histories.get(&account.id).map_or(0, |history| history.entries.len());
            let account = Arc::new(account.clone());
            for entry in entries.iter().filter(|entry| entry.sequence > written as u64) {
                let change = Change { account: Arc::clone(&account), entry: Arc::new(entry.clone()) };
                state.write(&change);
            }
        }
        for (key, record) in &batch.requests {
            if let RecordedOutcome::Entry(id) = record.outcome {
                state.entry(key, id)?;
            }
            state.records.import(key, record, now, self.request_retention);
        }
        Ok(())
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end_import(import, |_| {})
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end_import(import, State::clear)
    }
}
