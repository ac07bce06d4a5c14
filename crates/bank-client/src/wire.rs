//! Conversions between the messages of `bank.v1` and the values of this crate.

#![expect(clippy::unnecessary_wraps, reason = "`from_wire` calls all readers alike")]

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use bank_domain::{Money, Timestamp};
use bank_proto::v1;

use crate::choice::Choice;

/// A reply is malformed: the field and the problem.
#[derive(Debug)]
pub struct Malformed(pub(crate) String);

/// A value that is read from a message. Other crates cannot name this trait.
pub trait FromWire<W>: Sized {
    /// The value of a message.
    ///
    /// # Errors
    /// [`Malformed`].
    fn from_wire(wire: W) -> Result<Self, Malformed>;
}

/// Defines structs together with how they are read from a message:
/// `field: Type = read(source)` reads the message's field `source` with the function `read` of this module. In JSON the
/// field has the name `source` too; `=> "key" as_secs` gives a duration another key, and says in which unit it is.
macro_rules! from_wire {
    ($(
        $(#[$attribute:meta])*
        pub struct $name:ident from $wire:ident {
            $($(#[$doc:meta])* $field:ident: $type:ty = $read:ident($source:ident) $(=> $key:literal $unit:ident)?,)+
        }
    )+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $crate::wire::FromWire<bank_proto::v1::$wire> for $name {
            fn from_wire(wire: bank_proto::v1::$wire) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self { $($field: $crate::wire::$read(stringify!($source), wire.$source)?,)+ })
            }
        }

        $crate::json::json_object! { $name, |value| {
            $($crate::wire::from_wire!(@key $source $($key)?) => value.$field$(.$unit())?,)+
        } }
    )+};
    (@key $source:ident) => { stringify!($source) };
    (@key $source:ident $key:literal) => { $key };
}

pub(crate) use from_wire;

/// The field as it is.
pub(crate) fn plain<W, T: From<W>>(_field: &str, wire: W) -> Result<T, Malformed> {
    Ok(wire.into())
}

/// A text that is not empty.
pub(crate) fn text(field: &str, text: String) -> Result<String, Malformed> {
    text_if_any(field, text)?.ok_or_else(|| Malformed(format!("{field} is missing")))
}

/// A text, if it is not empty.
pub(crate) fn text_if_any(_field: &str, text: String) -> Result<Option<String>, Malformed> {
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The labels of an account.
pub(crate) fn labels(
    _field: &str,
    labels: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, Malformed> {
    Ok(labels.into_iter().collect())
}

/// An enum, which may have a value that this client does not know.
pub(crate) fn choice<T: Choice>(_field: &str, number: i32) -> Result<T, Malformed> {
    Ok(T::from_wire(number))
}

/// A field that every such message has.
pub(crate) fn required<W, T: FromWire<W>>(field: &str, wire: Option<W>) -> Result<T, Malformed> {
    wire.map_or_else(|| Err(Malformed(format!("{field} is missing"))), T::from_wire)
}

/// A field that may be absent.
pub(crate) fn optional<W, T: FromWire<W>>(_field: &str, wire: Option<W>) -> Result<Option<T>, Malformed> {
    wire.map(T::from_wire).transpose()
}

/// A repeated field.
pub(crate) fn all<W, T: FromWire<W>>(_field: &str, wire: Vec<W>) -> Result<Vec<T>, Malformed> {
    wire.into_iter().map(T::from_wire).collect()
}

/// A text that is parsed.
pub(crate) fn parsed<T: FromStr<Err: Display>>(field: &str, text: impl AsRef<str>) -> Result<T, Malformed> {
    text.as_ref().parse().map_err(|error| Malformed(format!("{field} {error}")))
}

/// A text that is parsed unless it is empty.
pub(crate) fn parsed_if_any<T: FromStr<Err: Display>>(
    field: &str,
    text: String,
) -> Result<Option<T>, Malformed> {
    if text.is_empty() { Ok(None) } else { parsed(field, text).map(Some) }
}

/// A count, which is signed on the wire.
pub(crate) fn count(field: &str, number: impl Into<i64>) -> Result<u64, Malformed> {
    let number = number.into();
    number.try_into().map_err(|_| Malformed(format!("{field} is {number}")))
}

/// A count that is 0 if it is unknown.
pub(crate) fn count_if_any(field: &str, number: impl Into<i64>) -> Result<Option<u64>, Malformed> {
    Ok(Some(count(field, number)?).filter(|count| *count > 0))
}

impl FromWire<Self> for Vec<u8> {
    fn from_wire(wire: Self) -> Result<Self, Malformed> {
        Ok(wire)
    }
}

impl FromWire<v1::Money> for Money {
    fn from_wire(wire: v1::Money) -> Result<Self, Malformed> {
        Ok(Self { currency: parsed("currency_code", wire.currency_code)?, minor_units: wire.minor_units })
    }
}

impl FromWire<prost_types::Timestamp> for Timestamp {
    /// Truncated to milliseconds, which is what the bank records.
    fn from_wire(wire: prost_types::Timestamp) -> Result<Self, Malformed> {
        wire.seconds
            .checked_mul(1_000)
            .and_then(|ms| ms.checked_add(i64::from(wire.nanos / 1_000_000)))
            .and_then(|ms| Self::try_from_unix_ms(ms).ok())
            .ok_or_else(|| Malformed(format!("a time of {} s is out of range", wire.seconds)))
    }
}

impl FromWire<prost_types::Duration> for Duration {
    fn from_wire(wire: prost_types::Duration) -> Result<Self, Malformed> {
        wire.try_into().map_err(|error| Malformed(format!("a duration is out of range: {error}")))
    }
}

pub(crate) fn money(money: Money) -> v1::Money {
    v1::Money { currency_code: money.currency.code().to_owned(), minor_units: money.minor_units }
}

pub(crate) fn timestamp(timestamp: Timestamp) -> prost_types::Timestamp {
    let unix_ms = timestamp.unix_ms();
    prost_types::Timestamp {
        seconds: unix_ms.div_euclid(1_000),
        // At most 999 ms in nanoseconds, far below the range of 32 bits.
        nanos: i32::try_from(unix_ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
