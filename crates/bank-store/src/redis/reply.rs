//! Reads the values that Redis answers.

use bank_domain::Timestamp;
use fred::types::Value;

use super::codec::Fields;
use crate::StoreError;

pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err(unexpected("redis answered something else than a list")),
    }
}

pub(super) fn pair(value: Value) -> Result<[Value; 2], StoreError> {
    list(value)?.try_into().map_err(|_| unexpected("redis answered something else than a pair"))
}

pub(super) fn integer(value: &Value) -> Result<i64, StoreError> {
    value.as_i64().ok_or_else(|| unexpected("redis answered something else than an integer"))
}

pub(super) fn text(value: Value) -> Result<String, StoreError> {
    value.into_string().ok_or_else(|| unexpected("redis answered something else than text"))
}

/// Milliseconds since 1970 in digits; `None` for what is no time.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok())
}

/// What `TIME` answers: seconds, and microseconds within the second.
pub(super) fn told_time(value: Value) -> Result<Timestamp, StoreError> {
    let [seconds, microseconds] = pair(value)?;
    let unix_ms = (|| {
        let milliseconds = microseconds.as_i64()? / 1_000;
        seconds.as_i64()?.checked_mul(1_000)?.checked_add(milliseconds)
    })();
    let time = unix_ms.and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok());
    time.ok_or_else(|| unexpected("redis does not tell the time"))
}

fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    value.into_owned_bytes().ok_or_else(|| unexpected("redis answered something else than a string"))
}

/// A flat list of names and values, as of a hash or of a stream entry.
pub(super) fn fields(value: Value) -> Result<Fields, StoreError> {
    if let Value::Map(map) = value {
        return map
            .inner()
            .into_iter()
            .map(|(name, value)| {
                let name = name.into_string().ok_or_else(|| unexpected("a field's name is not text"))?;
                Ok((name, bytes(value)?))
            })
            .collect();
    }
    let mut values = list(value)?.into_iter();
    let mut fields = Fields::new();
    while let Some(name) = values.next() {
        let value = values.next().ok_or_else(|| unexpected("redis answered a field without a value"))?;
        fields.insert(text(name)?, bytes(value)?);
    }
    Ok(fields)
}
