//! Day counts: how the days of a period become a fraction of a year.

use jiff::civil::Date;
use num_rational::Ratio;

use super::period::{Period, days_between};
use crate::names::named;

named! {
    /// How the days of a period become a fraction of a year.
    ///
    /// The formulas are those of the 2006 ISDA Definitions, section 4.16. A period runs from its start,
    /// included, to its end, excluded: `D1/M1/Y1` is the start and `D2/M2/Y2` the end.
    ///
    /// ```
    /// use bank_domain::interest::{DateRange, DayCount};
    ///
    /// let range = DateRange::parse("2003-11-01", "2004-05-01")?;
    /// assert_eq!(DayCount::Act365Fixed.year_fraction(range.into()).to_string(), "182/365");
    /// assert_eq!(DayCount::Thirty360Bond.year_fraction(range.into()).to_string(), "1/2");
    /// // 61/365 + 121/366
    /// assert_eq!(DayCount::ActActIsda.year_fraction(range.into()).to_string(), "66491/133590");
    /// # Ok::<(), bank_domain::interest::InvalidDateRange>(())
    /// ```
    #[derive(Default)]
    pub enum DayCount, "day count" {
        /// Actual days over 365, in leap years too. ISDA 2006, 4.16(d): Actual/365 (Fixed).
        #[default]
        Act365Fixed = "act_365_fixed",
        /// Actual days over 360. ISDA 2006, 4.16(e): Actual/360.
        Act360 = "act_360",
        /// Days in leap years over 366 plus the others over 365. ISDA 2006, 4.16(b): Actual/Actual (ISDA).
        ActActIsda = "act_act_isda",
        /// Months of 30 days. ISDA 2006, 4.16(f): 30/360 or Bond Basis.
        ///
        /// `(360·(Y2−Y1) + 30·(M2−M1) + (D2−D1)) / 360`, where a D1 of 31 counts as 30, and a D2 of 31
        /// counts as 30 if D1 is then 30. The end of February gets no special treatment (unlike in
        /// 30U/360), and two halves of a year may sum to 361 days.
        Thirty360Bond = "thirty_360_bond",
        /// Months of 30 days. ISDA 2006, 4.16(g): 30E/360 or Eurobond Basis.
        ///
        /// As 30/360, but a D2 of 31 always counts as 30.
        ThirtyE360 = "thirty_e_360",
    }
}

impl DayCount {
    /// The length of a period in years, exactly; zero for 30 to 31 January in months of 30 days.
    pub fn year_fraction(self, period: Period) -> Ratio<i64> {
        match period {
            Period::OneYear => Ratio::from_integer(1),
            Period::Dates(range) => {
                Ratio::new(self.parts_between(range.start(), range.end()), self.parts_per_year())
            }
        }
    }

    /// The parts of a year. Every period is a whole number of parts.
    pub(super) const fn parts_per_year(self) -> i64 {
        match self {
            Self::Act365Fixed => 365,
            Self::Act360 | Self::Thirty360Bond | Self::ThirtyE360 => 360,
            Self::ActActIsda => 365 * 366,
        }
    }

    /// The number of parts from one date to a later one.
    pub(super) fn parts_between(self, start: Date, end: Date) -> i64 {
        match self {
            Self::Act365Fixed | Self::Act360 => days_between(start, end),
            Self::ActActIsda => act_act_parts(start, end),
            Self::Thirty360Bond => {
                let start_day = start.day().min(30);
                let end_day = if start_day == 30 { end.day().min(30) } else { end.day() };
                thirty_360_days(start, start_day, end, end_day)
            }
            Self::ThirtyE360 => thirty_360_days(start, start.day().min(30), end, end.day().min(30)),
        }
    }
}

/// Parts of 1/133590 year: a day is 366 of them in a year of 365 days, and 365 in one of 366.
fn act_act_parts(start: Date, end: Date) -> i64 {
    let parts_per_day = |date: Date| if date.in_leap_year() { 365 } else { 366 };
    let parts_since_new_year = |date: Date| i64::from(date.day_of_year() - 1) * parts_per_day(date);
    // Every whole year has the same number of parts, that of `parts_per_year`.
    let years = i64::from(end.year() - start.year());
    years * DayCount::ActActIsda.parts_per_year() + parts_since_new_year(end) - parts_since_new_year(start)
}

fn thirty_360_days(start: Date, start_day: i8, end: Date, end_day: i8) -> i64 {
    360 * i64::from(end.year() - start.year())
        + 30 * i64::from(end.month() - start.month())
        + i64::from(end_day - start_day)
}

#[cfg(test)]
mod tests;
