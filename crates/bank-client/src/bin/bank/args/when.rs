//! Times and days on the command line.

use bank_client::Timestamp;
use clap::Args;
use jiff::{
    Zoned, civil,
    fmt::temporal::Pieces,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::failure::{Exit, Failure};

const TIME_HINT: &str =
    "write it like 2026-01-31, 2026-01-31T12:00:00Z or 2026-01-31T12:00:00[Europe/Zurich]";
const ZONE_HINT: &str = "write the IANA name of a time zone, such as UTC or Europe/Zurich";
const NANOSECONDS_PER_MILLISECOND: i128 = 1_000_000;

#[derive(Debug, Args)]
pub(crate) struct Zone {
    /// Time zone of days and of times without an offset: an IANA name such as Europe/Zurich
    #[arg(long = "time-zone", visible_alias = "zone", default_value = "UTC", value_name = "ZONE", value_parser = zone)]
    zone: TimeZone,
}

/// A point in time, or a whole day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// A day in a time zone, by default [`Zone`].
    Day(civil::Date, Option<TimeZone>),
    /// A time in [`Zone`].
    Local(civil::DateTime),
    Instant(jiff::Timestamp),
}

impl Zone {
    /// The last millisecond that is not after the time, or the last of the day.
    pub(crate) fn until(&self, when: &When) -> Result<Timestamp, Failure> {
        milliseconds(self.nanoseconds(when)?.1)
    }

    /// The first millisecond that is not before the time, or the first of the day.
    pub(crate) fn from(&self, when: &When) -> Result<Timestamp, Failure> {
        milliseconds(self.nanoseconds(when)?.0 + NANOSECONDS_PER_MILLISECOND - 1)
    }

    /// The first and the last nanosecond, counted from 1970.
    fn nanoseconds(&self, when: &When) -> Result<(i128, i128), Failure> {
        let instant = match when {
            When::Day(day, zone) => {
                let zone = zone.as_ref().unwrap_or(&self.zone);
                // Not always midnight: in some zones clocks are put forward then.
                let start_of = |day: civil::Date| day.to_zoned(zone.clone())?.start_of_day();
                let start = start_of(*day).map_err(|_| out_of_range(day))?;
                let next = day.tomorrow().and_then(start_of).map_err(|_| out_of_range(day))?;
                return Ok((start.timestamp().as_nanosecond(), next.timestamp().as_nanosecond() - 1));
            }
            When::Local(time) => self.instant(*time)?,
            When::Instant(instant) => *instant,
        };
        Ok((instant.as_nanosecond(), instant.as_nanosecond()))
    }

    fn instant(&self, time: civil::DateTime) -> Result<jiff::Timestamp, Failure> {
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        let problem = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                return ambiguous.unambiguous().map_err(|_| out_of_range(time));
            }
            AmbiguousOffset::Gap { .. } => "does not exist",
            AmbiguousOffset::Fold { .. } => "occurs twice",
        };
        let zone = self.zone.iana_name().unwrap_or_default();
        Err(invalid(format!(
            "{time} {problem} in the time zone {zone}; add its offset, as in 2026-01-31T12:00:00+01:00"
        )))
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Exit::Usage, "INVALID_TIME", message)
}

fn out_of_range(time: impl std::fmt::Display) -> Failure {
    invalid(format!("{time} is out of range: use a time from 0001-01-02 to 9999-12-29"))
}

fn milliseconds(nanoseconds: i128) -> Result<Timestamp, Failure> {
    let unix_ms = nanoseconds.div_euclid(NANOSECONDS_PER_MILLISECOND);
    let time = i64::try_from(unix_ms).ok().and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok());
    time.ok_or_else(|| out_of_range(format_args!("{unix_ms} ms after 1970")))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| ZONE_HINT.to_owned())
}

/// Reads a day, `2026-01-31`, or a time of a day: with an offset, without one, or with a time zone in brackets.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let pieces = Pieces::parse(text).map_err(|_| TIME_HINT)?;
    let zone = pieces.to_time_zone().map_err(|_| ZONE_HINT)?;
    let Some(time) = pieces.time() else { return Ok(When::Day(pieces.date(), zone)) };
    if zone.is_some() {
        // Fails if an offset does not belong to the time zone.
        let zoned: Zoned = text.parse().map_err(|error| format!("{error}; {TIME_HINT}"))?;
        return Ok(When::Instant(zoned.timestamp()));
    }
    match pieces.offset() {
        Some(_) => Ok(When::Instant(text.parse().map_err(|_| TIME_HINT)?)),
        None => Ok(When::Local(pieces.date().to_datetime(time))),
    }
}

#[cfg(test)]
mod tests;
