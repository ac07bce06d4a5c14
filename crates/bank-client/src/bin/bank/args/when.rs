//! Times as people write them.

use bank_client::Timestamp;
use clap::Args;
use jiff::{
    Zoned, civil,
    tz::{AmbiguousOffset, TimeZone},
};

const HOW: &str = "write it like 2026-01-31, 2026-01-31T12:00:00Z or 2026-01-31T12:00:00[Europe/Zurich]";
const NANOSECONDS_PER_MILLISECOND: i128 = 1_000_000;

/// The days and hours of which times without an offset are.
#[derive(Debug, Args)]
pub(crate) struct Zone {
    /// The time zone of days, and of times that name none: an IANA name such as Europe/Zurich
    #[arg(long = "time-zone", visible_alias = "zone", default_value = "UTC", value_name = "ZONE", value_parser = zone)]
    zone: TimeZone,
}

/// A point in time, or a whole day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Of the zone that it names, or else of [`Zone`].
    Day(civil::Date, Option<TimeZone>),
    /// Of [`Zone`].
    Local(civil::DateTime),
    Instant(jiff::Timestamp),
}

/// It cannot be said what time is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTime {
    #[error("{time} {problem} in the time zone {zone}; add its offset, as in 2026-01-31T12:00:00+01:00")]
    Local { time: civil::DateTime, zone: String, problem: &'static str },
    #[error("{0} is out of range: use a time from 0001-01-02 to 9999-12-29")]
    OutOfRange(String),
}

impl Zone {
    /// The last millisecond that is not after it: of a day, its last.
    pub(crate) fn until(&self, when: &When) -> Result<Timestamp, InvalidTime> {
        match when {
            When::Day(day, zone) => {
                let next = day.tomorrow().map_err(|_| InvalidTime::OutOfRange(day.to_string()))?;
                milliseconds(self.start_of(next, zone.as_ref())?.as_nanosecond() - 1)
            }
            When::Local(time) => milliseconds(self.instant(*time)?.as_nanosecond()),
            When::Instant(instant) => milliseconds(instant.as_nanosecond()),
        }
    }

    /// The first millisecond that is not before it: of a day, its first.
    pub(crate) fn from(&self, when: &When) -> Result<Timestamp, InvalidTime> {
        let instant = match when {
            When::Day(day, zone) => self.start_of(*day, zone.as_ref())?,
            When::Local(time) => self.instant(*time)?,
            When::Instant(instant) => *instant,
        };
        milliseconds(instant.as_nanosecond() + NANOSECONDS_PER_MILLISECOND - 1)
    }

    /// Days begin at midnight, but where clocks are put forward then.
    fn start_of(&self, day: civil::Date, zone: Option<&TimeZone>) -> Result<jiff::Timestamp, InvalidTime> {
        let zone = zone.unwrap_or(&self.zone);
        let start = day.to_zoned(zone.clone()).and_then(|start| start.start_of_day());
        start.map(|start| start.timestamp()).map_err(|_| InvalidTime::OutOfRange(day.to_string()))
    }

    fn instant(&self, time: civil::DateTime) -> Result<jiff::Timestamp, InvalidTime> {
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        let problem = match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => "does not exist",
            _ => "comes twice",
        };
        if ambiguous.is_ambiguous() {
            let zone = self.zone.iana_name().unwrap_or_default().to_owned();
            return Err(InvalidTime::Local { time, zone, problem });
        }
        ambiguous.unambiguous().map_err(|_| InvalidTime::OutOfRange(time.to_string()))
    }
}

fn milliseconds(nanoseconds: i128) -> Result<Timestamp, InvalidTime> {
    let unix_ms = nanoseconds.div_euclid(NANOSECONDS_PER_MILLISECOND);
    let time = i64::try_from(unix_ms).ok().and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok());
    time.ok_or_else(|| InvalidTime::OutOfRange(format!("{unix_ms} ms after 1970")))
}

/// The name of a time zone.
fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "write the IANA name of a time zone, such as UTC or Europe/Zurich".to_owned())
}

/// `2026-01-31`; a time of that day with an offset, without one, or in a zone that is named in brackets.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let malformed = |_| HOW.to_owned();
    let Some((time, zone_name)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) else {
        return match text.parse() {
            Ok(instant) => Ok(When::Instant(instant)),
            Err(_) if is_day(text) => text.parse().map(|day| When::Day(day, None)).map_err(malformed),
            Err(_) => text.parse().map(When::Local).map_err(malformed),
        };
    };
    if is_day(time) {
        return Ok(When::Day(time.parse().map_err(malformed)?, Some(zone(zone_name)?)));
    }
    // An offset must be one of the zone.
    let zoned: Zoned = text.parse().map_err(|error: jiff::Error| format!("{error}; {HOW}"))?;
    Ok(When::Instant(zoned.timestamp()))
}

/// Whether there is no time of day, which is left away where a date is read.
fn is_day(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_zone(name: &str) -> Zone {
        Zone { zone: zone(name).unwrap() }
    }

    #[test]
    fn days_end_and_begin_in_their_zone() {
        for (zone, text, from, until) in [
            ("UTC", "2026-01-31", "2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999Z"),
            ("Asia/Tokyo", "2026-01-31", "2026-01-30T15:00:00Z", "2026-01-31T14:59:59.999Z"),
            ("UTC", "2026-01-31[Asia/Tokyo]", "2026-01-30T15:00:00Z", "2026-01-31T14:59:59.999Z"),
            // Of 23 and of 25 hours.
            ("Europe/Zurich", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999Z"),
            ("Europe/Zurich", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999Z"),
            // Clocks are put forward at midnight, so the day begins at one.
            ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T20:59:59.999Z"),
            ("UTC", "1969-12-31", "1969-12-31T00:00:00Z", "1969-12-31T23:59:59.999Z"),
        ] {
            let (zone, day) = (in_zone(zone), when(text).unwrap());
            let shown = (zone.from(&day).unwrap().to_string(), zone.until(&day).unwrap().to_string());
            assert_eq!(shown, (from.to_owned(), until.to_owned()), "{zone:?} {text}");
        }
    }

    #[test]
    fn times_are_of_their_offset_of_the_zone_in_brackets_or_of_the_zone_that_was_named() {
        for (zone, text, shown) in [
            ("UTC", "2026-01-31T12:30:00", "2026-01-31T12:30:00Z"),
            ("UTC", "2026-01-31 12:30", "2026-01-31T12:30:00Z"),
            ("Asia/Tokyo", "2026-01-31T12:30:00", "2026-01-31T03:30:00Z"),
            ("Asia/Tokyo", "2026-01-31T12:30:00.250Z", "2026-01-31T12:30:00.25Z"),
            ("Asia/Tokyo", "2026-01-31T12:30:00+01:00", "2026-01-31T11:30:00Z"),
            ("UTC", "2026-11-30T09:00:00[Asia/Tokyo]", "2026-11-30T00:00:00Z"),
            ("UTC", "2026-11-30T09:00:00+09:00[Asia/Tokyo]", "2026-11-30T00:00:00Z"),
            ("Europe/Zurich", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
        ] {
            let (zone, time) = (in_zone(zone), when(text).unwrap());
            assert_eq!(zone.from(&time).unwrap().to_string(), shown, "{text}");
            assert_eq!(zone.until(&time).unwrap().to_string(), shown, "{text}");
        }
    }

    /// Entries have whole milliseconds. So the first that is not before a time is the next one, the last not after it
    /// the one before.
    #[test]
    fn what_is_finer_than_a_millisecond_takes_nothing_in_that_is_outside() {
        let zone = in_zone("UTC");
        for (text, from, until) in [
            ("2026-01-31T12:00:00.4521Z", "2026-01-31T12:00:00.453Z", "2026-01-31T12:00:00.452Z"),
            ("2026-01-31T12:00:00.4529Z", "2026-01-31T12:00:00.453Z", "2026-01-31T12:00:00.452Z"),
            ("1969-12-31T23:59:59.9995Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z"),
        ] {
            let time = when(text).unwrap();
            assert_eq!(zone.from(&time).unwrap().to_string(), from, "{text}");
            assert_eq!(zone.until(&time).unwrap().to_string(), until, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_or_more_than_one_is_refused() {
        for (text, complaint) in [
            ("", "write it like"),
            ("yesterday", "write it like"),
            ("2026-02-30", "write it like"),
            ("31.01.2026", "write it like"),
            ("2026-01-31[Asia/Tokio]", "IANA name"),
            ("2026-01-31T12:00:00[Asia/Tokio]", "write it like"),
            ("2026-01-31T12:00:00+02:00[Asia/Tokyo]", "write it like"),
            ("2026-01-31T12:00:00Z[", "write it like"),
        ] {
            let error = when(text).unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
        let zone = in_zone("Europe/Zurich");
        for (text, complaint) in [
            ("2026-03-29T02:30:00", "does not exist in the time zone Europe/Zurich"),
            ("2026-10-25T02:30:00", "comes twice"),
        ] {
            let error = zone.from(&when(text).unwrap()).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        for text in ["-0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9995Z"] {
            assert!(
                when(text).map_err(|_| ()).and_then(|time| zone.from(&time).map_err(|_| ())).is_err(),
                "{text}"
            );
        }
        // What the message says can be used can be, in every zone.
        for zone in ["Pacific/Kiritimati", "Etc/GMT+12"].map(in_zone) {
            for text in ["0001-01-02", "9999-12-29"] {
                let day = when(text).unwrap();
                assert!(zone.from(&day).is_ok() && zone.until(&day).is_ok(), "{zone:?} {text}");
            }
            let error = zone.until(&when("9999-12-31").unwrap()).unwrap_err().to_string();
            assert!(error.contains("from 0001-01-02 to 9999-12-29"), "{error}");
        }
        let error = super::zone("Asia/Tokio").unwrap_err();
        assert!(error.starts_with("write the IANA name"), "{error}");
    }

    /// A machine without a database of time zones has ours.
    #[test]
    fn zones_need_nothing_on_the_machine() {
        assert!(jiff::tz::TimeZoneDatabase::bundled().get("Asia/Tokyo").is_ok());
    }
}
