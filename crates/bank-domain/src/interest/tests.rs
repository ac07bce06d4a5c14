use super::*;
use crate::Currency;

#[test]
fn breakdowns_are_stored_legibly() {
    let principal = Money { currency: Currency::USD, minor_units: 100_000 };
    let period = DateRange::parse("2026-01-01", "2026-07-01").unwrap().into();
    let breakdown = calculate(principal, &Terms::new("-2.50".parse().unwrap()), period).unwrap();
    let json = serde_json::json!({
        "terms": {
            "annual_rate": "-2.5",
            "day_count": "act_365_fixed",
            "compounding": "simple",
            "rounding_mode": "half_even",
        },
        "period": { "dates": { "start": "2026-01-01", "end": "2026-07-01" } },
        "principal": { "currency": "USD", "minor_units": 100_000 },
        "days": 181,
        "year_fraction": "181/365",
        "compounding_periods": 1,
        "growth_factor": "0.987602739726027397",
        "exact_interest": "-12.397260273972602739",
        "interest": { "currency": "USD", "minor_units": -1_240 },
    });
    assert_eq!(serde_json::to_value(&breakdown).unwrap(), json);
    assert_eq!(serde_json::from_value::<Breakdown>(json).unwrap(), breakdown);
}

#[test]
fn decimals_are_truncated() {
    for (numerator, denominator, exponent, expected) in [
        (0_i64, 1_i64, 0, "0.000000000000000000"),
        (-1, 1_000_000_000_000_000_000, 0, "-0.000000000000000001"),
        (-1, 2_000_000_000_000_000_000, 0, "0.000000000000000000"),
        (25, 2, 0, "12.500000000000000000"),
        (-200, 3, 2, "-0.666666666666666666"),
        (5, 1, 4, "0.000500000000000000"),
    ] {
        let fraction = BigRational::new_raw(numerator.into(), denominator.into());
        assert_eq!(to_decimal(&fraction, exponent), expected);
    }
}

#[test]
fn daily_compounding_is_limited_to_ten_years() {
    let daily = Terms { compounding: Compounding::Daily, ..Terms::new("2.5".parse().unwrap()) };
    let dates = |end| Period::from(DateRange::parse("2020-01-01", end).unwrap());
    assert_eq!(daily.require_calculable(Period::OneYear), Ok(()));
    assert_eq!(daily.require_calculable(dates("2030-01-08")), Ok(()));
    let error = daily.require_calculable(dates("2030-01-09")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "makes a period of 3661 days; daily compounding allows at most 3660: compound monthly or split the period"
    );
    let monthly = Terms { compounding: Compounding::Monthly, ..daily };
    assert_eq!(monthly.require_calculable(dates("2120-01-01")), Ok(()));
}
