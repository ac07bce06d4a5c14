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
fn invalid_ranges_are_rejected_with_the_reason() {
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
        ("2000-01-01", "2100-01-02", "the end 2100-01-02 is more than 100 years after the start 2000-01-01"),
        ("2000-02-29", "2100-03-01", "the end 2100-03-01 is more than 100 years after the start 2000-02-29"),
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
