use super::*;

fn cut(compounding: Compounding, day_count: DayCount, start: &str, end: &str) -> SubPeriods {
    SubPeriods::of(compounding, day_count, DateRange::parse(start, end).unwrap().into())
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
fn the_rest_is_a_shorter_sub_period() {
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
            let sub_periods = SubPeriods::of(compounding, *day_count, Period::OneYear);
            assert_eq!(sub_periods.count(), count);
            let lengths: Vec<_> = sub_periods.lengths().collect();
            assert_eq!(lengths, [(Ratio::new(1, count.into()), count)]);
        }
    }
}

#[test]
fn daily_compounding_counts_every_day() {
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
            assert_eq!(sub_periods.count(), range.days(), "{day_count} {range}");
            let years: Ratio<i128> =
                sub_periods.lengths().map(|(length, count)| length * i128::from(count)).sum();
            if *day_count == DayCount::ActActIsda {
                let whole = day_count.year_fraction(range.into());
                assert_eq!(years, Ratio::new((*whole.numer()).into(), (*whole.denom()).into()), "{range}");
            }
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
