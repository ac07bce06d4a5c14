//! Between the messages of `bank.v1` and the values of this crate.

use std::{fmt::Display, str::FromStr};

use bank_domain::{Money, Timestamp};
use bank_proto::v1;

/// What is wrong with a reply: the field and how.
#[derive(Debug)]
pub struct Malformed(pub(crate) String);

/// A value that is read from a message. Out of reach for other crates.
pub trait FromWire<W>: Sized {
    /// The value, if the message says what it must.
    ///
    /// # Errors
    /// What is wrong with the message.
    fn from_wire(wire: W) -> Result<Self, Malformed>;
}

/// The value of a field that every such message has.
pub(crate) fn required<W, T: FromWire<W>>(field: &str, wire: Option<W>) -> Result<T, Malformed> {
    wire.map_or_else(|| Err(Malformed(format!("{field} is missing"))), T::from_wire)
}

/// The value of a field that may be absent.
pub(crate) fn optional<W, T: FromWire<W>>(wire: Option<W>) -> Result<Option<T>, Malformed> {
    wire.map(T::from_wire).transpose()
}

/// The values of a repeated field, in order.
pub(crate) fn all<W, T: FromWire<W>>(wire: Vec<W>) -> Result<Vec<T>, Malformed> {
    wire.into_iter().map(T::from_wire).collect()
}

/// The value that a text stands for.
pub(crate) fn parsed<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|error| Malformed(format!("{field} {error}")))
}

/// The value that a text stands for, if there is any text.
pub(crate) fn parsed_if_any<T: FromStr<Err: Display>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Malformed> {
    if text.is_empty() { Ok(None) } else { parsed(field, text).map(Some) }
}

/// A count that the wire has as a signed number.
pub(crate) fn count(field: &str, number: i64) -> Result<u64, Malformed> {
    number.try_into().map_err(|_| Malformed(format!("{field} is {number}")))
}

/// A count that is not known where it is 0.
pub(crate) fn count_if_any(field: &str, number: i64) -> Result<Option<u64>, Malformed> {
    Ok(Some(count(field, number)?).filter(|count| *count > 0))
}

impl FromWire<v1::Money> for Money {
    fn from_wire(wire: v1::Money) -> Result<Self, Malformed> {
        Ok(Self { currency: parsed("currency_code", &wire.currency_code)?, minor_units: wire.minor_units })
    }
}

impl FromWire<prost_types::Timestamp> for Timestamp {
    /// Cut to whole milliseconds, which is what the bank records.
    fn from_wire(wire: prost_types::Timestamp) -> Result<Self, Malformed> {
        wire.seconds
            .checked_mul(1_000)
            .and_then(|ms| ms.checked_add(i64::from(wire.nanos / 1_000_000)))
            .and_then(|ms| Self::try_from_unix_ms(ms).ok())
            .ok_or_else(|| Malformed(format!("a time of {} s is out of range", wire.seconds)))
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
mod tests {
    use super::*;

    #[test]
    fn times_cross_the_wire_before_and_after_the_epoch() {
        for unix_ms in
            [0, 1, -1, -1_001, 1_767_225_600_123, Timestamp::MIN.unix_ms(), Timestamp::MAX.unix_ms()]
        {
            let time = Timestamp::try_from_unix_ms(unix_ms).unwrap();
            let wire = timestamp(time);
            assert!((0..1_000_000_000).contains(&wire.nanos), "{wire:?}");
            assert_eq!(Timestamp::from_wire(wire).unwrap(), time);
        }
        let beyond = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(Timestamp::from_wire(beyond).is_err());
    }

    #[test]
    fn a_reply_that_lacks_something_says_what() {
        let Malformed(problem) = required::<v1::Money, Money>("balance", None).unwrap_err();
        assert_eq!(problem, "balance is missing");
        let wire = v1::Money { currency_code: "GALLEON".into(), minor_units: 1 };
        let Malformed(problem) = Money::from_wire(wire).unwrap_err();
        assert!(problem.starts_with("currency_code \"GALLEON\""), "{problem}");
    }
}
