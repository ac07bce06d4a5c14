//! Export of request records, and imports.

use async_trait::async_trait;
use redb::ReadableTableMetadata as _;

use super::{
    EmbeddedStore, codec,
    commit::After,
    import::{self, ENDED, IN_PROGRESS},
    requests::Windows,
    tables::{ACCOUNTS, META, REQUESTS},
};
use crate::{
    Backup, Caller, ImportBatch, ImportId, ImportStart, RequestKey, RequestRecord, RequestsQuery, Store as _,
    StoreError, backup::RequestsPage,
};

#[async_trait]
impl Backup for EmbeddedStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        let (query, retention) = (query.clone(), self.file.identity().retention);
        let aged_to_seconds = self.file.aged_to_ms() / 1_000;
        self.read(move |snapshot| {
            let table = snapshot.transaction.open_table(REQUESTS)?;
            let mut page = RequestsPage::new(&query, snapshot.placement);
            for window in Windows::at(aged_to_seconds, retention, &table)?.oldest_first() {
                for row in table.range((window, "", "", "")..(window + 1, "", "", ""))? {
                    let (key, row) = row?;
                    let (_, request_id, account_id, caller) = key.value();
                    let key = request_key(request_id, account_id, caller)?;
                    page.offer(key, |_| codec::record(row.value())?.try_map(|entry| Ok(entry.id)))?;
                }
            }
            Ok(page.finish())
        })
        .await
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        let import = import.clone();
        self.writer
            .write(move |transaction, before| {
                let is_marked = import::is_marked(&transaction.open_table(META)?)?;
                if !is_marked && !transaction.open_table(ACCOUNTS)?.is_empty()? {
                    return Ok((ImportStart::NotEmpty, After::unchanged(&before)));
                }
                import::set_mark(transaction, IN_PROGRESS, &import)?;
                Ok((ImportStart::Started, import::clear(transaction)?))
            })
            .await
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let now_seconds = self.clock().estimate_seconds();
        let (import, batch) = (import.clone(), batch.clone());
        self.writer
            .write(move |transaction, before| {
                import::require_in_progress(transaction, &import)?;
                Ok(((), import::write(transaction, before, now_seconds, &batch)?))
            })
            .await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end_import(import, false).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.end_import(import, true).await
    }
}

impl EmbeddedStore {
    async fn end_import(&self, import: &ImportId, clear: bool) -> Result<(), StoreError> {
        let import = import.clone();
        self.writer
            .write(move |transaction, before| {
                if import::has_mark(transaction, ENDED, &import)? {
                    return Ok(((), After::unchanged(&before)));
                }
                import::require_in_progress(transaction, &import)?;
                import::set_mark(transaction, ENDED, &import)?;
                let after = if clear { import::clear(transaction)? } else { After::unchanged(&before) };
                Ok(((), after))
            })
            .await
    }
}

fn request_key(request_id: &str, account_id: &str, caller: &str) -> Result<RequestKey, StoreError> {
    let (Ok(account_id), Ok(request_id)) = (account_id.parse(), request_id.parse()) else {
        return Err(StoreError::Corrupt(format!(
            "the key of the record of request {request_id:?} of account {account_id:?} is malformed"
        )));
    };
    Ok(RequestKey { account_id, request_id, caller: Caller::new(caller) })
}
