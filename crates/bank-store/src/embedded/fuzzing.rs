//! Entry points for fuzzing: rows, as they are decoded.

#![expect(clippy::missing_errors_doc, reason = "entry points for fuzz targets only")]

use bank_domain::{Account, AccountId, Currency, Entry};

use super::{codec, log::LogRow};
use crate::StoreError;

/// Decodes the row of an account with its newest entry, and encodes it again.
pub fn account(id: &AccountId, row: &[u8], newest: &Entry) -> Result<(Account, Vec<u8>), StoreError> {
    let mut encoded = Vec::new();
    let opened = codec::opened(id, row)?;
    let number = opened.number;
    let account = opened.after(newest);
    codec::require_sound(&account)?;
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
