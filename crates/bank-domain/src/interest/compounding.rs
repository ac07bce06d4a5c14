//! Compounding: the sub-periods after which interest starts to earn interest.

use std::collections::BTreeMap;

use jiff::{Span, civil::Date};
use num_rational::Ratio;
use serde::{Deserialize, Serialize};

use super::{DateRange, DayCount, Period, Terms, names::names};

/// How often interest is added to the principal that earns interest.
///
/// A period of dates is cut at its start plus one, two, three … units, counted from the start with
/// the day kept within the month: from 31 January by months at 28 or 29 February, 31 March, 30 April.
/// What is left after the last whole unit is a shorter last sub-period. The [`DayCount`] says how
/// long each sub-period is.
///
/// One year is 365 days, 12 months, 4 quarters or 1 year, all equally long, whatever the day count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Compounding {
    /// Never.
    #[default]
    Simple,
    /// Every day.
    Daily,
    /// Every month.
    Monthly,
    /// Every three months.
    Quarterly,
    /// Every year.
    Yearly,
}

names!(Compounding, "compounding",
    Simple => "simple",
    Daily => "daily",
    Monthly => "monthly",
    Quarterly => "quarterly",
    Yearly => "yearly",
);

/// The sub-periods of a period, those of equal length taken together: there are some dozens of
/// lengths at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubPeriods {
    parts_per_year: i64,
    /// How many sub-periods there are of each length, in parts of a year.
    counts: BTreeMap<i64, u32>,
}

impl SubPeriods {
    /// Cuts a period as the terms say.
    pub(super) fn of(terms: &Terms, period: Period) -> Self {
        let range = match period {
            Period::OneYear => return Self::of_one_year(terms.compounding),
            Period::Dates(range) => range,
        };
        let mut sub_periods =
            Self { parts_per_year: terms.day_count.parts_per_year(), counts: BTreeMap::new() };
        match terms.compounding {
            Compounding::Simple => {
                sub_periods.add(terms.day_count.parts_between(range.start(), range.end()), 1);
            }
            Compounding::Daily => sub_periods.add_days(terms.day_count, range),
            Compounding::Monthly => sub_periods.add_months(terms.day_count, range, 1),
            Compounding::Quarterly => sub_periods.add_months(terms.day_count, range, 3),
            Compounding::Yearly => sub_periods.add_months(terms.day_count, range, 12),
        }
        sub_periods
    }

    fn of_one_year(compounding: Compounding) -> Self {
        let count: u32 = match compounding {
            Compounding::Simple | Compounding::Yearly => 1,
            Compounding::Quarterly => 4,
            Compounding::Monthly => 12,
            Compounding::Daily => 365,
        };
        Self { parts_per_year: count.into(), counts: BTreeMap::from([(1, count)]) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.counts.values().sum()
    }

    /// Each length in years, with the number of sub-periods that have it.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (Ratio<i128>, u32)> {
        self.counts
            .iter()
            .map(|(parts, count)| (Ratio::new((*parts).into(), self.parts_per_year.into()), *count))
    }

    fn add(&mut self, parts: i64, count: u32) {
        *self.counts.entry(parts).or_default() += count;
    }

    /// Cuts a range every day.
    ///
    /// How long a day is depends on where in the year it is and on whether the year is a leap year.
    /// So one whole year of each kind is gone through, and counted for each of its kind.
    fn add_days(&mut self, day_count: DayCount, range: DateRange) {
        let mut whole_years: [Option<BTreeMap<i64, u32>>; 2] = [None, None];
        let mut start = range.start();
        while start < range.end() {
            // The calendar's last year has no next one, and ranges end within it.
            let next_year = start.last_of_year().tomorrow().ok().filter(|date| *date <= range.end());
            let end = next_year.unwrap_or(range.end());
            let count = || count_days(day_count, start, end);
            let counts = if next_year.is_some() && start == start.first_of_year() {
                whole_years[usize::from(start.in_leap_year())].get_or_insert_with(count).clone()
            } else {
                count()
            };
            for (parts, count) in counts {
                self.add(parts, count);
            }
            start = end;
        }
    }

    /// Cuts a range every so many months.
    fn add_months(&mut self, day_count: DayCount, range: DateRange, months: i32) {
        let mut start = range.start();
        let mut elapsed_months = 0;
        while start < range.end() {
            elapsed_months += months;
            // A cut beyond the calendar is beyond the end.
            let cut = range.start().checked_add(Span::new().months(elapsed_months)).unwrap_or(range.end());
            let end = cut.min(range.end());
            self.add(day_count.parts_between(start, end), 1);
            start = end;
        }
    }
}

/// How many days there are of each length, one by one.
fn count_days(day_count: DayCount, start: Date, end: Date) -> BTreeMap<i64, u32> {
    let mut counts = BTreeMap::new();
    let mut date = start;
    while date < end {
        let next = date.tomorrow().unwrap_or(end);
        *counts.entry(day_count.parts_between(date, next)).or_default() += 1;
        date = next;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(compounding: Compounding, day_count: DayCount, start: &str, end: &str) -> SubPeriods {
        let terms = Terms { day_count, compounding, ..Terms::new("1".parse().unwrap()) };
        SubPeriods::of(&terms, DateRange::parse(start, end).unwrap().into())
    }

    fn check(compounding: Compounding, start: &str, end: &str, days: &[(i64, u32)]) {
        let sub_periods = cut(compounding, DayCount::Act365Fixed, start, end);
        assert_eq!(sub_periods.counts, days.iter().copied().collect(), "{compounding} {start}/{end}");
    }

    #[test]
    fn cuts_keep_to_the_day_of_the_start() {
        // 31 January, 28 February, 31 March, 30 April.
        check(Compounding::Monthly, "2026-01-31", "2026-04-30", &[(28, 1), (31, 1), (30, 1)]);
        // 30 January, 29 February, 30 March.
        check(Compounding::Monthly, "2024-01-30", "2024-03-30", &[(30, 2)]);
        // 29 February, 28 February three times, 29 February.
        check(Compounding::Yearly, "2024-02-29", "2028-02-29", &[(365, 3), (366, 1)]);
        // 30 November, 28 February, 30 May, 30 August.
        check(Compounding::Quarterly, "2025-11-30", "2026-08-30", &[(90, 1), (91, 1), (92, 1)]);
    }

    #[test]
    fn what_is_left_is_a_shorter_sub_period() {
        check(Compounding::Simple, "2026-01-01", "2027-03-04", &[(427, 1)]);
        check(Compounding::Daily, "2026-01-01", "2027-03-04", &[(1, 427)]);
        check(Compounding::Monthly, "2026-01-15", "2026-02-20", &[(31, 1), (5, 1)]);
        check(Compounding::Quarterly, "2026-01-01", "2026-04-02", &[(90, 1), (1, 1)]);
        check(Compounding::Yearly, "2026-01-01", "2026-12-31", &[(364, 1)]);
        // The end of the calendar.
        check(Compounding::Yearly, "9999-01-01", "9999-12-31", &[(364, 1)]);
        check(Compounding::Daily, "9998-12-31", "9999-12-31", &[(1, 365)]);
    }

    #[test]
    fn one_year_is_cut_evenly_whatever_the_day_count() {
        for (compounding, count) in [
            (Compounding::Simple, 1),
            (Compounding::Yearly, 1),
            (Compounding::Quarterly, 4),
            (Compounding::Monthly, 12),
            (Compounding::Daily, 365),
        ] {
            for day_count in DayCount::ALL {
                let terms = Terms { compounding, day_count: *day_count, ..Terms::new("1".parse().unwrap()) };
                let sub_periods = SubPeriods::of(&terms, Period::OneYear);
                assert_eq!(sub_periods.count(), count);
                let lengths: Vec<_> = sub_periods.lengths().collect();
                assert_eq!(lengths, [(Ratio::new(1, count.into()), count)]);
            }
        }
    }

    #[test]
    fn days_counted_by_years_are_the_days_one_by_one() {
        for (start, end) in [
            ("2023-01-01", "2025-01-01"),
            ("2023-12-31", "2025-01-02"),
            ("2000-02-28", "2000-03-01"),
            ("1999-06-15", "2009-06-14"),
            ("1896-03-01", "1996-03-01"),
            ("2024-01-30", "2024-02-01"),
            ("9997-01-01", "9999-12-31"),
        ] {
            for day_count in DayCount::ALL {
                let range = DateRange::parse(start, end).unwrap();
                let sub_periods = cut(Compounding::Daily, *day_count, start, end);
                let one_by_one = count_days(*day_count, range.start(), range.end());
                assert_eq!(sub_periods.counts, one_by_one, "{day_count} {range}");
                assert_eq!(sub_periods.count(), range.days());
            }
        }
    }

    #[test]
    fn a_century_has_few_lengths() {
        for day_count in DayCount::ALL {
            for compounding in Compounding::ALL {
                for day in ["01", "15", "28", "29", "30", "31"] {
                    let start = format!("1904-12-{day}");
                    let sub_periods = cut(*compounding, *day_count, &start, "2004-12-01");
                    let lengths = sub_periods.lengths().count();
                    assert!(lengths <= 24, "{compounding} by {day_count} from {start}: {lengths}");
                }
            }
        }
    }

    #[test]
    fn names_are_stable() {
        let names: Vec<_> = Compounding::ALL.iter().map(|compounding| compounding.as_str()).collect();
        assert_eq!(names, ["simple", "daily", "monthly", "quarterly", "yearly"]);
        for compounding in Compounding::ALL {
            assert_eq!(compounding.as_str().parse(), Ok(*compounding));
        }
    }
}
