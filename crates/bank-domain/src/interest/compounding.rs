//! Compounding: when interest is added to the principal.

use std::collections::BTreeMap;

use jiff::{Span, civil::Date};
use num_bigint::BigInt;
use num_rational::{BigRational, Ratio};

use super::{
    day_count::DayCount,
    period::{DateRange, Period},
};
use crate::names::named;

named! {
    /// How often interest is added to the principal that earns interest.
    ///
    /// A range of dates is cut at its start plus one, two, three … units. A day that the month does not have
    /// is replaced by the last day of the month: 31 January, 28 or 29 February, 31 March, 30 April. The rest
    /// after the last whole unit is a shorter sub-period. The [`DayCount`](super::DayCount) defines the length
    /// of each sub-period.
    ///
    /// One year is 365 days, 12 months, 4 quarters or 1 year of equal length, whatever the day count.
    #[derive(Default)]
    pub enum Compounding, "compounding" {
        /// Never.
        #[default]
        Simple = "simple",
        /// Every day.
        Daily = "daily",
        /// Every month.
        Monthly = "monthly",
        /// Every three months.
        Quarterly = "quarterly",
        /// Every year.
        Yearly = "yearly",
    }
}

/// The sub-periods of a period, grouped by length. There are at most a few dozen lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubPeriods {
    parts_per_year: i64,
    /// The number of sub-periods of each length, in parts of a year.
    counts: BTreeMap<i64, u32>,
}

impl SubPeriods {
    /// Cuts a period at the dates when interest is added to the principal.
    pub(super) fn of(compounding: Compounding, day_count: DayCount, period: Period) -> Self {
        let range = match period {
            Period::OneYear => {
                let count = match compounding {
                    Compounding::Simple | Compounding::Yearly => 1,
                    Compounding::Quarterly => 4,
                    Compounding::Monthly => 12,
                    Compounding::Daily => 365,
                };
                return Self { parts_per_year: count.into(), counts: BTreeMap::from([(1, count)]) };
            }
            Period::Dates(range) => range,
        };
        let mut counts = BTreeMap::new();
        let (mut start, mut number) = (range.start(), 0);
        while start < range.end() {
            number += 1;
            let end = compounding.cut(range, start, number);
            *counts.entry(day_count.parts_between(start, end)).or_default() += 1;
            start = end;
        }
        Self { parts_per_year: day_count.parts_per_year(), counts }
    }

    /// The number of sub-periods.
    pub(super) fn count(&self) -> u32 {
        self.counts.values().sum()
    }

    /// Each length in years, with the number of sub-periods of that length.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (Ratio<i128>, u32)> {
        self.counts
            .iter()
            .map(|(parts, count)| (Ratio::new((*parts).into(), self.parts_per_year.into()), *count))
    }

    /// What one unit grows to at an annual rate: the product of `1 + rate * length` over all sub-periods.
    ///
    /// The fraction is not reduced: finding the common divisor of numbers this long would take most of the
    /// time.
    pub(super) fn growth(&self, annual_rate: Ratio<i128>) -> BigRational {
        let (mut numerator, mut denominator) = (BigInt::from(1), BigInt::from(1));
        for (length, count) in self.lengths() {
            // At most 10^21 over 10^12 · 133,590: far below 128 bits.
            let factor = annual_rate * length + 1;
            numerator *= BigInt::from(*factor.numer()).pow(count);
            denominator *= BigInt::from(*factor.denom()).pow(count);
        }
        BigRational::new_raw(numerator, denominator)
    }
}

impl Compounding {
    /// The end of the sub-period `number`, counted from 1, that begins at `start`.
    fn cut(self, range: DateRange, start: Date, number: i32) -> Date {
        let after_months = |months: i32| range.start().checked_add(Span::new().months(months));
        let cut = match self {
            Self::Simple => Ok(range.end()),
            Self::Daily => start.tomorrow(),
            Self::Monthly => after_months(number),
            Self::Quarterly => after_months(3 * number),
            Self::Yearly => after_months(12 * number),
        };
        // A date beyond the calendar is beyond the end.
        cut.map_or(range.end(), |cut| cut.min(range.end()))
    }
}

#[cfg(test)]
mod tests;
