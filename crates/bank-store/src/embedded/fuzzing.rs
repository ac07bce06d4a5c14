//! Entry points for fuzzing: damaged files, and rows as they are decoded.

#![expect(clippy::missing_errors_doc, reason = "entry points for fuzz targets only")]

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bank_domain::{Account, AccountId, Currency, Entry};
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::{
    CheckReport, EmbeddedOptions, EmbeddedStore, check, codec,
    log::LogRow,
    medium::{Initialize, Medium},
    unblocked,
};
use crate::StoreError;

/// A file in memory.
#[derive(Clone, Debug, Default)]
pub struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    /// A file with these contents.
    pub fn new(contents: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(contents)))
    }

    /// What is in it.
    pub fn contents(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it as [`EmbeddedStore::open`] does.
    pub async fn open(&self) -> Result<EmbeddedStore, StoreError> {
        EmbeddedStore::open_on(Box::new(self.clone()), options()).await
    }

    /// Checks it as [`EmbeddedStore::check`] does.
    pub async fn check(&self) -> Result<CheckReport, StoreError> {
        let file = self.clone();
        unblocked(move || check::check(&file, &options())).await
    }
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions { cache_bytes_max: 1 << 20, ..EmbeddedOptions::default() }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let contents = self.contents();
        let found = contents.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // A damaged file may ask for any length.
        let length = usize::try_from(length).ok().filter(|length| *length <= 64 << 20);
        self.contents().resize(length.ok_or(io::ErrorKind::StorageFull)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut contents = self.contents();
        let place = contents.get_mut(start..).and_then(|rest| rest.get_mut(..data.len()));
        place.ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(data);
        Ok(())
    }
}

impl Medium for File {
    fn name(&self) -> String {
        "a file in memory".to_owned()
    }

    fn create(&self, builder: &Builder, initialize: Initialize<'_>) -> Result<Option<Database>, StoreError> {
        if !self.contents().is_empty() {
            return Ok(None);
        }
        let made = builder.create_with_backend(self.clone());
        let database = made.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        initialize(&database)?;
        Ok(Some(database))
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }

    fn drop_cache(&self) {}

    fn obstacle(&self) -> Option<String> {
        None
    }
}

/// Decodes the row of an account with its newest entry, and encodes it again.
pub fn account(id: &AccountId, row: &[u8], newest: &Entry) -> Result<(Account, Vec<u8>), StoreError> {
    let mut encoded = Vec::new();
    let opened = codec::opened(id, row)?;
    let number = opened.number;
    let account = opened.after(newest)?;
    codec::encode_account(&mut encoded, &account, number)?;
    Ok((account, encoded))
}

/// Decodes an entry of the log, and encodes it again.
pub fn entry(row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoded = Vec::new();
    let linked = codec::entry(1, Currency::USD, row)?;
    codec::encode_entry(&mut encoded, &linked.entry, linked.previous)?;
    Ok(encoded)
}

/// Decodes a request record, and encodes it again.
pub fn request(row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoded = Vec::new();
    codec::encode_record(&mut encoded, &codec::record(row)?)?;
    Ok(encoded)
}

/// Decodes a row of the log that begins at this position: the entries in it, each with its position.
pub fn log(first: u64, row: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let row = LogRow::parse(first, row)?;
    Ok(row.entries().map(|(position, entry)| (position, entry.to_vec())).collect())
}
