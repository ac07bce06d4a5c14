//! Interest at the ends of what is legal.

use bank_domain::{
    Currency, Money, Overflow,
    interest::{self, Compounding, DateRange, DayCount, Period, RoundingMode, Terms},
};

fn usd(minor_units: i64) -> Money {
    Money { currency: Currency::USD, minor_units }
}

#[test]
fn interest_that_does_not_fit_is_an_overflow() {
    for (rate, minor_units, expected) in [
        ("100", i64::MAX, Ok(i64::MAX)),
        ("100", i64::MIN, Ok(i64::MIN)),
        ("-100", i64::MAX, Ok(-i64::MAX)),
        ("-100", i64::MIN, Err(Overflow)),
        ("100.0000000001", i64::MAX, Err(Overflow)),
        ("100.0000000001", i64::MIN, Err(Overflow)),
        ("1000", i64::MAX, Err(Overflow)),
        ("-1000", i64::MIN, Err(Overflow)),
        ("1000", i64::MAX / 10, Ok(i64::MAX / 10 * 10)),
        ("1000", i64::MIN / 10 - 1, Err(Overflow)),
    ] {
        let terms = Terms::new(rate.parse().unwrap());
        let interest = interest::calculate(usd(minor_units), &terms, Period::OneYear)
            .map(|breakdown| breakdown.interest.minor_units);
        assert_eq!(interest, expected, "{rate} % on {minor_units}");
    }
}

/// Half a minor unit beyond the largest amount: whether it fits is up to the mode.
#[test]
fn the_mode_decides_at_the_ends() {
    // 50 % of an odd number, counted three times over: 1.5 times (2^64 − 1) / 3.
    let third = i64::MAX / 3 * 2 + 1;
    assert_eq!(i128::from(third) * 3, i128::from(i64::MAX) * 2 + 1);
    for (mode, expected) in [
        (RoundingMode::Down, Ok(i64::MAX)),
        (RoundingMode::HalfDown, Ok(i64::MAX)),
        (RoundingMode::Floor, Ok(i64::MAX)),
        (RoundingMode::HalfUp, Err(Overflow)),
        (RoundingMode::HalfEven, Err(Overflow)),
        (RoundingMode::Up, Err(Overflow)),
        (RoundingMode::Ceiling, Err(Overflow)),
    ] {
        let terms = Terms { rounding_mode: mode, ..Terms::new("150".parse().unwrap()) };
        let interest = interest::calculate(usd(third), &terms, Period::OneYear)
            .map(|breakdown| breakdown.interest.minor_units);
        assert_eq!(interest, expected, "{mode}");
    }
}

/// −100 % and below for a sub-period: the formulas hold as they stand.
#[test]
fn rates_below_minus_100_percent() {
    for (rate, compounding, growth_factor, interest) in [
        ("-100", Compounding::Yearly, "0.000000000000000000", -10_000),
        ("-1000", Compounding::Simple, "-9.000000000000000000", -100_000),
        ("-1000", Compounding::Yearly, "-9.000000000000000000", -100_000),
        // (1 − 2.5)^4 = 5.0625
        ("-1000", Compounding::Quarterly, "5.062500000000000000", 40_625),
        // (1 − 1)^4
        ("-400", Compounding::Quarterly, "0.000000000000000000", -10_000),
    ] {
        let terms = Terms { compounding, ..Terms::new(rate.parse().unwrap()) };
        let breakdown = interest::calculate(usd(10_000), &terms, Period::OneYear).unwrap();
        assert_eq!(breakdown.growth_factor, growth_factor, "{rate} % {compounding}");
        assert_eq!(breakdown.interest.minor_units, interest, "{rate} % {compounding}");
    }
}

/// Next to nothing is left of the principal after a century at −99.9999999999 %: 10^-1200 of it. That
/// is not nothing to the modes that look at it.
#[test]
fn tiny_remainders_count() {
    let century = DateRange::parse("1900-01-01", "2000-01-01").unwrap().into();
    for (mode, minor_units, expected) in [
        (RoundingMode::HalfEven, 10_000, -10_000),
        (RoundingMode::Floor, 10_000, -10_000),
        (RoundingMode::Ceiling, 10_000, -9_999),
        (RoundingMode::Down, 10_000, -9_999),
        (RoundingMode::Up, 10_000, -10_000),
        (RoundingMode::Floor, -10_000, 9_999),
        (RoundingMode::Ceiling, -10_000, 10_000),
    ] {
        let terms = Terms {
            annual_rate: "-99.9999999999".parse().unwrap(),
            day_count: DayCount::ThirtyE360,
            compounding: Compounding::Yearly,
            rounding_mode: mode,
        };
        let breakdown = interest::calculate(usd(minor_units), &terms, century).unwrap();
        assert_eq!(breakdown.interest.minor_units, expected, "{mode} on {minor_units}");
        assert_eq!(breakdown.exact_interest.trim_start_matches('-'), "99.999999999999999999");
        assert_eq!(breakdown.growth_factor, "0.000000000000000000");
    }
}
