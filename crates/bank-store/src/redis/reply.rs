//! Converts the values that Redis returns.

use std::collections::HashMap;

use bank_domain::{AccountId, Timestamp};
use fred::types::Value;

use crate::StoreError;

/// The fields of a hash or of a stream entry. All are text, except the hash of an entry.
pub(super) type Fields = HashMap<String, Vec<u8>>;

pub(super) fn unexpected(expected: &str) -> StoreError {
    StoreError::Corrupt(format!("unexpected reply from Redis: expected {expected}"))
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err(unexpected("a list")),
    }
}

/// A list of exactly so many values.
pub(super) fn array<T, const N: usize>(values: Vec<T>) -> Result<[T; N], StoreError> {
    values.try_into().map_err(|_| unexpected(&format!("{N} values")))
}

pub(super) fn pair(value: Value) -> Result<[Value; 2], StoreError> {
    array(list(value)?)
}

pub(super) fn integer(value: &Value) -> Result<i64, StoreError> {
    value.as_i64().ok_or_else(|| unexpected("an integer"))
}

pub(super) fn text(value: Value) -> Result<String, StoreError> {
    value.into_string().ok_or_else(|| unexpected("text"))
}

/// Parses Unix milliseconds.
pub(super) fn unix_ms(text: &str) -> Option<Timestamp> {
    text.parse().ok().and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok())
}

/// The reply to `TIME`: Unix seconds, and microseconds within the second.
pub(super) fn time(value: Value) -> Result<Timestamp, StoreError> {
    let [seconds, microseconds] = pair(value)?;
    let unix_ms = (|| {
        let milliseconds = microseconds.as_i64()? / 1_000;
        seconds.as_i64()?.checked_mul(1_000)?.checked_add(milliseconds)
    })();
    let time = unix_ms.and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok());
    time.ok_or_else(|| unexpected("the time"))
}

/// Names and values in turn, as of a hash or of a stream entry.
pub(super) fn fields(value: Value) -> Result<Fields, StoreError> {
    let mut values = list(value)?.into_iter();
    let mut fields = Fields::with_capacity(values.len() / 2);
    while let Some(name) = values.next() {
        let value = values.next().and_then(Value::into_owned_bytes);
        fields.insert(text(name)?, value.ok_or_else(|| unexpected("a value for each field"))?);
    }
    Ok(fields)
}

/// A member of an index of accounts.
pub(super) fn account_id(value: Value) -> Result<AccountId, StoreError> {
    let id = text(value)?;
    id.parse().map_err(|_| StoreError::Corrupt(format!("an index holds {id:?}, which is not an account id")))
}
