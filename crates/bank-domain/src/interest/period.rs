//! The time that interest is for.

use std::fmt;

use jiff::{Span, civil::Date};
use serde::{Deserialize, Serialize};

/// How long a range of dates may be.
const YEARS_MAX: i32 = 100;

/// The time that interest is for.
///
/// It prints as `one_year` or as the two dates, `2026-01-01/2026-07-01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Exactly one year, whatever the day count.
    #[default]
    OneYear,
    /// From one date to another.
    Dates(DateRange),
}

/// A start, and a later end at most 100 years away, within the years 1 to 9999.
///
/// The start is the first day of it; the end is the day after the last.
///
/// ```
/// use bank_domain::interest::DateRange;
///
/// let range = DateRange::parse("2026-01-01", "2026-07-01")?;
/// assert_eq!(range.days(), 181);
/// assert_eq!(range.to_string(), "2026-01-01/2026-07-01");
/// assert!(DateRange::parse("2026-01-01", "2026-01-01").is_err());
/// # Ok::<(), bank_domain::interest::InvalidDateRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "StoredDateRange", into = "StoredDateRange")]
pub struct DateRange {
    start: Date,
    end: Date,
}

/// The text is not a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a date; write it like 2026-01-31")]
pub struct InvalidDate {
    /// What was given, cut to a readable length.
    pub text: String,
}

/// The dates are not the start and end of a period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDateRange {
    /// The start is not a date.
    #[error("the start {0}")]
    Start(InvalidDate),
    /// The end is not a date.
    #[error("the end {0}")]
    End(InvalidDate),
    /// A date lies before the year 1.
    #[error("{date} is outside the years 1 to 9999")]
    YearOutOfRange {
        /// What was given.
        date: Date,
    },
    /// The end is the start, or before it.
    #[error("the end {end} is not after the start {start}")]
    Empty {
        /// The start that was given.
        start: Date,
        /// The end that was given.
        end: Date,
    },
    /// The end is too far from the start.
    #[error("the end {end} is more than {YEARS_MAX} years after the start {start}")]
    TooLong {
        /// The start that was given.
        start: Date,
        /// The end that was given.
        end: Date,
    },
}

impl Period {
    /// Calendar days from the start to the end; 0 for one year, which names no days.
    pub fn days(self) -> u32 {
        match self {
            Self::OneYear => 0,
            Self::Dates(range) => range.days(),
        }
    }
}

impl From<DateRange> for Period {
    fn from(range: DateRange) -> Self {
        Self::Dates(range)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneYear => f.write_str("one_year"),
            Self::Dates(range) => range.fmt(f),
        }
    }
}

impl DateRange {
    /// The time from one date to another.
    ///
    /// # Errors
    /// [`InvalidDateRange`] unless the end is after the start, by at most 100 years (100 years after
    /// 29 February is 28 February where there is no 29th).
    pub fn try_new(start: Date, end: Date) -> Result<Self, InvalidDateRange> {
        if let Some(date) = [start, end].into_iter().find(|date| date.year() < 1) {
            return Err(InvalidDateRange::YearOutOfRange { date });
        }
        if end <= start {
            return Err(InvalidDateRange::Empty { start, end });
        }
        // Where the sum leaves the calendar, every end is near enough.
        if start.checked_add(Span::new().years(YEARS_MAX)).is_ok_and(|last| end > last) {
            return Err(InvalidDateRange::TooLong { start, end });
        }
        Ok(Self { start, end })
    }

    /// The time from one date to another, both written like `2026-01-31`.
    ///
    /// # Errors
    /// [`InvalidDateRange`] for anything but four digits, two and two that name a date, and as for
    /// [`try_new`](Self::try_new).
    pub fn parse(start: &str, end: &str) -> Result<Self, InvalidDateRange> {
        let start = parse_date(start).map_err(InvalidDateRange::Start)?;
        let end = parse_date(end).map_err(InvalidDateRange::End)?;
        Self::try_new(start, end)
    }

    /// The first day.
    pub fn start(self) -> Date {
        self.start
    }

    /// The day after the last.
    pub fn end(self) -> Date {
        self.end
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}

/// A date range as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredDateRange {
    start: String,
    end: String,
}

impl TryFrom<StoredDateRange> for DateRange {
    type Error = InvalidDateRange;

    fn try_from(stored: StoredDateRange) -> Result<Self, InvalidDateRange> {
        Self::parse(&stored.start, &stored.end)
    }
}

impl From<DateRange> for StoredDateRange {
    fn from(range: DateRange) -> Self {
        Self { start: range.start.to_string(), end: range.end.to_string() }
    }
}

/// Reads `2026-01-31`, stricter than the calendar crate, which takes times and other forms too.
fn parse_date(text: &str) -> Result<Date, InvalidDate> {
    let well_written = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    Some(text)
        .filter(|_| well_written)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| InvalidDate { text: text.chars().take(32).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_print_and_parse() {
        for (start, end, days) in [
            ("2026-01-01", "2026-01-02", 1),
            ("2024-02-28", "2024-03-01", 2),
            ("0001-01-01", "0001-12-31", 364),
            ("9999-12-30", "9999-12-31", 1),
            ("9950-01-01", "9999-12-31", 18_261),
            ("2000-01-01", "2100-01-01", 36_525),
            ("2000-02-29", "2100-02-28", 36_524),
        ] {
            let range = DateRange::parse(start, end).unwrap();
            assert_eq!(range.to_string(), format!("{start}/{end}"));
            assert_eq!(range.days(), days, "{range}");
            assert_eq!(Period::from(range).days(), days, "{range}");
        }
        assert_eq!(Period::OneYear.days(), 0);
        assert_eq!(Period::OneYear.to_string(), "one_year");
    }

    #[test]
    fn what_is_not_a_range_is_an_error_that_says_so() {
        for (start, end, message) in [
            ("", "2026-01-01", "the start \"\" is not a date; write it like 2026-01-31"),
            ("2026-1-1", "2026-02-01", "the start \"2026-1-1\" is not a date; write it like 2026-01-31"),
            ("20260101", "2026-02-01", "the start \"20260101\" is not a date; write it like 2026-01-31"),
            ("2026/01/01", "2026-02-01", "the start \"2026/01/01\" is not a date; write it like 2026-01-31"),
            (
                "2026-01-01",
                "2026-02-01T00:00:00",
                "the end \"2026-02-01T00:00:00\" is not a date; write it like 2026-01-31",
            ),
            ("2026-01-01", "2026-02-29", "the end \"2026-02-29\" is not a date; write it like 2026-01-31"),
            ("2026-01-01", "2026-13-01", "the end \"2026-13-01\" is not a date; write it like 2026-01-31"),
            ("2026-01-01", "-02026-1-1", "the end \"-02026-1-1\" is not a date; write it like 2026-01-31"),
            ("0000-01-01", "0001-01-01", "0000-01-01 is outside the years 1 to 9999"),
            ("2026-01-01", "2026-01-01", "the end 2026-01-01 is not after the start 2026-01-01"),
            ("2026-01-02", "2026-01-01", "the end 2026-01-01 is not after the start 2026-01-02"),
            (
                "2000-01-01",
                "2100-01-02",
                "the end 2100-01-02 is more than 100 years after the start 2000-01-01",
            ),
            (
                "2000-02-29",
                "2100-03-01",
                "the end 2100-03-01 is more than 100 years after the start 2000-02-29",
            ),
        ] {
            assert_eq!(DateRange::parse(start, end).unwrap_err().to_string(), message);
        }
        let before = Date::constant(-1, 1, 1);
        assert_eq!(
            DateRange::try_new(before, Date::constant(1, 1, 1)),
            Err(InvalidDateRange::YearOutOfRange { date: before })
        );
    }

    #[test]
    fn periods_are_stored_legibly() {
        let dates = Period::from(DateRange::parse("2026-01-01", "2026-07-01").unwrap());
        for (period, json) in [
            (Period::OneYear, "\"one_year\""),
            (dates, "{\"dates\":{\"start\":\"2026-01-01\",\"end\":\"2026-07-01\"}}"),
        ] {
            assert_eq!(serde_json::to_string(&period).unwrap(), json);
            assert_eq!(serde_json::from_str::<Period>(json).unwrap(), period);
        }
        let empty = "{\"dates\":{\"start\":\"2026-01-01\",\"end\":\"2026-01-01\"}}";
        assert!(serde_json::from_str::<Period>(empty).is_err());
    }
}
