//! How single values are read.

use std::{fmt::Display, str::FromStr, time::Duration};

use bank_client::Timestamp;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// One of the names that the type goes by.
pub(crate) fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display + Send + Sync + std::error::Error + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// `500ms`, `10s`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write it like 500ms, 10s or 2m".to_owned())
}

/// `2026-01-31`, which is its first instant in UTC; `2026-01-31T12:00:00Z`, or with another offset.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, String> {
    let instant = text.parse::<jiff::Timestamp>().or_else(|_| {
        let time: jiff::civil::DateTime = text.parse()?;
        Ok::<_, jiff::Error>(time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    });
    let instant = instant.map_err(|_| "write it like 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())?;
    Timestamp::try_from_unix_ms(instant.as_millisecond()).map_err(|error| error.to_string())
}

/// `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("write it like key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_utc_or_with_their_offset() {
        for (text, shown) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T12:30:00", "2026-01-31T12:30:00Z"),
            ("2026-01-31 12:30", "2026-01-31T12:30:00Z"),
            ("2026-01-31T12:30:00.250Z", "2026-01-31T12:30:00.25Z"),
            ("2026-01-31T12:30:00+01:00", "2026-01-31T11:30:00Z"),
        ] {
            assert_eq!(timestamp(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "yesterday", "2026-02-30", "31.01.2026", "-0001-01-01T00:00:00Z"] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_more_than_nothing() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        for text in ["", "10", "0s", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
