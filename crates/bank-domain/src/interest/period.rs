//! The period that interest is calculated for.

use std::fmt;

use jiff::{Span, civil::Date};
use serde::{Deserialize, Serialize};

/// The longest range of dates, in years.
const YEARS_MAX: i32 = 100;

/// The period that interest is calculated for.
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

/// A range of at most 100 years within the years 1 to 9999.
///
/// The start is the first day; the end is the day after the last.
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
    /// The text, cut to 32 characters.
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
        /// The date given.
        date: Date,
    },
    /// The end is not after the start.
    #[error("the end {end} is not after the start {start}")]
    Empty {
        /// The start given.
        start: Date,
        /// The end given.
        end: Date,
    },
    /// The end is too far from the start.
    #[error("the end {end} is more than {YEARS_MAX} years after the start {start}")]
    TooLong {
        /// The start given.
        start: Date,
        /// The end given.
        end: Date,
    },
}

impl Period {
    /// Calendar days from the start to the end; 0 for one year.
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
    /// The range from one date to another.
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

    /// The range from one date to another, both written like `2026-01-31`.
    ///
    /// # Errors
    /// [`InvalidDateRange`] for a malformed date, and as for [`try_new`](Self::try_new).
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

    /// Calendar days from the start to the end.
    pub fn days(self) -> u32 {
        // A range has at most 36,525 days.
        u32::try_from(days_between(self.start, self.end)).unwrap_or(u32::MAX)
    }
}

/// Calendar days from one date to a later one.
pub(super) fn days_between(start: Date, end: Date) -> i64 {
    start.duration_until(end).as_secs() / (24 * 60 * 60)
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

/// Reads `2026-01-31`, and none of the other forms that `jiff` accepts.
fn parse_date(text: &str) -> Result<Date, InvalidDate> {
    let date = text.parse::<Date>().ok().filter(|date| text.len() == 10 && date.to_string() == text);
    date.ok_or_else(|| InvalidDate { text: text.chars().take(32).collect() })
}

#[cfg(test)]
mod tests;
