use super::*;
use crate::interest::DateRange;

fn fraction(day_count: DayCount, start: &str, end: &str) -> String {
    day_count.year_fraction(DateRange::parse(start, end).unwrap().into()).to_string()
}

#[test]
fn one_year_is_one_by_every_day_count() {
    for day_count in DayCount::ALL {
        assert_eq!(day_count.year_fraction(Period::OneYear), Ratio::from_integer(1));
    }
}

#[test]
fn years_of_actual_days_differ() {
    for (day_count, plain, leap) in [
        (DayCount::Act365Fixed, "1", "366/365"),
        (DayCount::Act360, "73/72", "61/60"),
        (DayCount::ActActIsda, "1", "1"),
        (DayCount::Thirty360Bond, "1", "1"),
        (DayCount::ThirtyE360, "1", "1"),
    ] {
        assert_eq!(fraction(day_count, "2023-01-01", "2024-01-01"), plain, "{day_count}");
        assert_eq!(fraction(day_count, "2024-01-01", "2025-01-01"), leap, "{day_count}");
    }
}

#[test]
fn act_act_is_additive_day_by_day() {
    let mut date = Date::constant(1999, 12, 30);
    let end = Date::constant(2005, 1, 3);
    let whole = DayCount::ActActIsda.parts_between(date, end);
    let mut sum = 0;
    while date < end {
        let next = date.tomorrow().unwrap();
        let part = DayCount::ActActIsda.parts_between(date, next);
        assert_eq!(part, if date.in_leap_year() { 365 } else { 366 }, "{date}");
        sum += part;
        date = next;
    }
    assert_eq!(sum, whole);
}

#[test]
fn the_thirty_first_adds_nothing_where_it_is_the_thirtieth() {
    for day_count in [DayCount::Thirty360Bond, DayCount::ThirtyE360] {
        assert_eq!(fraction(day_count, "2026-01-30", "2026-01-31"), "0");
        assert_eq!(fraction(day_count, "2026-01-31", "2026-02-01"), "1/360");
    }
    assert_eq!(fraction(DayCount::Thirty360Bond, "2026-01-29", "2026-01-31"), "1/180");
    assert_eq!(fraction(DayCount::ThirtyE360, "2026-01-29", "2026-01-31"), "1/360");
}

#[test]
fn names_are_stable() {
    let names: Vec<_> = DayCount::ALL.iter().map(|day_count| day_count.as_str()).collect();
    assert_eq!(names, ["act_365_fixed", "act_360", "act_act_isda", "thirty_360_bond", "thirty_e_360"]);
    for day_count in DayCount::ALL {
        assert_eq!(day_count.as_str().parse(), Ok(*day_count));
        let json = serde_json::to_string(day_count).unwrap();
        assert_eq!(json, format!("\"{day_count}\""));
        assert_eq!(serde_json::from_str::<DayCount>(&json).unwrap(), *day_count);
    }
    assert_eq!(
        "30/360".parse::<DayCount>().unwrap_err().to_string(),
        "\"30/360\" is not a day count; it is one of act_365_fixed, act_360, act_act_isda, \
         thirty_360_bond, thirty_e_360"
    );
}
