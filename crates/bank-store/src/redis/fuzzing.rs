//! Entry points for fuzzing: replies of Redis, decoded as the store decodes them.

#![expect(clippy::missing_errors_doc, reason = "entry points for fuzz targets only")]

use bank_domain::{Account, AccountId, Currency, Entry, Timestamp};
pub use fred::types::{Key, Map, Value};

use super::{
    codec::{self, EntryText},
    commit::{Call, Scope},
    inspection::Info,
    keys::Keys,
    records, reply,
};
use crate::{Committed, Proposal, RequestKey, RequestRecord, StoreError, placement::Placement};

/// The reply to a read of an account.
pub fn account(id: &AccountId, reply: Value) -> Result<Option<Account>, StoreError> {
    codec::account(id, &reply::fields(reply)?)
}

/// One entry of a stream.
pub fn entry(id: &AccountId, currency: Currency, reply: Value) -> Result<Entry, StoreError> {
    codec::entry(id, currency, reply)
}

/// The fields of an entry, as a commit writes them.
pub fn entry_fields(entry: &Entry) -> Vec<Vec<u8>> {
    let text = EntryText(entry).to_string();
    let hash = entry.hash.as_bytes().to_vec();
    vec![codec::ENTRY.into(), text.into(), codec::HASH.into(), hash]
}

/// The fields of an account, as the commits up to this state have written them. `opening` is its first entry.
pub fn account_fields(account: &Account, opening: &Entry) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    codec::account_fields(account, opening, |name, value| {
        fields.extend([name.into(), value.to_string().into()]);
    });
    fields
}

/// A request record from its field and value.
pub fn request(field: &str, value: &str) -> Result<(RequestKey, RequestRecord), StoreError> {
    let key = records::key(field)?;
    let record = records::decode(&key, value)?;
    Ok((key, record))
}

/// The field and value of a request record.
pub fn request_text(key: &RequestKey, record: &RequestRecord) -> Result<(String, String), StoreError> {
    Ok((records::field(key), records::encode(record)?))
}

/// The reply of the commit script to these proposals.
pub fn committed(proposals: &[Proposal], reply: Value) -> Result<Committed, StoreError> {
    let keys = Keys::new("bank", Placement::try_new(256)?);
    let proposals: Vec<_> = proposals.iter().collect();
    Call::new(&keys, Scope::Bank, &proposals)?.committed(&proposals, reply).map(|done| done.committed)
}

/// The reply to `TIME`.
pub fn time(reply: Value) -> Result<Timestamp, StoreError> {
    reply::time(reply)
}

/// The reply to `INFO`.
pub fn info(reply: Value) -> Result<(), StoreError> {
    Info(reply::text(reply)?).require_supported_at("redis.test:6379", false)
}
