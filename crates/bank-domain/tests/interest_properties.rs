//! Interest against a plain second implementation, and what must hold for every legal input.

#![expect(clippy::unwrap_used, reason = "a test that fails here says so")]

#[path = "interest_properties/plain.rs"]
mod plain;

use bank_domain::{
    Currency, Money, Overflow,
    interest::{self, AnnualRate, Compounding, DateRange, DayCount, Period, RoundingMode, Terms},
};
use jiff::{ToSpan, civil::Date};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;
use proptest::prelude::*;

fn rates() -> impl Strategy<Value = AnnualRate> {
    let any_rate = (-10_000_000_000_000_i64..=10_000_000_000_000).prop_map(|rate| {
        format!(
            "{}{}.{:010}",
            if rate < 0 { "-" } else { "" },
            rate.abs() / 10_000_000_000,
            rate.abs() % 10_000_000_000
        )
    });
    let usual = (-200_i32..2_000).prop_map(|hundredths| {
        format!(
            "{}{}.{:02}",
            if hundredths < 0 { "-" } else { "" },
            hundredths.abs() / 100,
            hundredths.abs() % 100
        )
    });
    let round = prop::sample::select(vec![
        "0",
        "100",
        "-100",
        "50",
        "-50",
        "200",
        "-200",
        "-400",
        "1000",
        "-1000",
        "-365",
        "360",
        "0.0000000001",
        "-0.0000000001",
        "-99.9999999999",
        "-399.9999999999",
    ])
    .prop_map(str::to_owned);
    prop_oneof![usual, any_rate, round].prop_map(|text| text.parse().unwrap())
}

fn principals() -> impl Strategy<Value = i64> {
    let even = (-50_i64..50, 0_u32..10).prop_map(|(digits, zeros)| digits * 10_i64.pow(zeros));
    prop_oneof![-10_000_i64..10_000, even, any::<i64>()]
}

fn terms() -> impl Strategy<Value = Terms> {
    (
        rates(),
        prop::sample::select(DayCount::ALL),
        prop::sample::select(Compounding::ALL),
        prop::sample::select(RoundingMode::ALL),
    )
        .prop_map(|(annual_rate, day_count, compounding, rounding_mode)| Terms {
            annual_rate,
            day_count,
            compounding,
            rounding_mode,
        })
}

/// Terms that the bank calculates over the period: compounded monthly where daily is too long.
fn calculable(terms: Terms, period: Period) -> Terms {
    match terms.require_calculable(period) {
        Ok(()) => terms,
        Err(_) => Terms { compounding: Compounding::Monthly, ..terms },
    }
}

/// Any valid period of at most so many days.
fn periods(days_max: i32) -> impl Strategy<Value = Period> {
    let starts = prop_oneof![
        (1_i16..=9999, 1_i8..=12, 1_i8..=31),
        (1990_i16..=2030, prop::sample::select(vec![1_i8, 2, 12]), 27_i8..=31),
    ];
    let dates = (starts, prop_oneof![1..=days_max, 1..=62_i32.min(days_max)]).prop_filter_map(
        "a legal range",
        |((year, month, day), days)| {
            let start = Date::new(year, month, day).ok()?;
            let end = start.checked_add(days.days()).ok()?;
            DateRange::try_new(start, end).ok().map(Period::Dates)
        },
    );
    prop_oneof![1 => Just(Period::OneYear), 8 => dates]
}

fn money(code: &str, minor_units: i64) -> Money {
    Money { currency: code.parse::<Currency>().unwrap(), minor_units }
}

fn check_against_plain(principal: Money, terms: &Terms, period: Period) -> Result<(), TestCaseError> {
    let growth = plain::growth(terms, period);
    // Not reduced, as the factor: minor units times (G − 1).
    let exact = BigRational::new_raw(
        (growth.numer() - growth.denom()) * principal.minor_units,
        growth.denom().clone(),
    );
    let expected = plain::round(&exact, terms.rounding_mode).to_i64();
    let Ok(breakdown) = interest::calculate(principal, terms, period) else {
        prop_assert_eq!(expected, None);
        return Ok(());
    };
    prop_assert_eq!(Some(breakdown.interest.minor_units), expected);
    prop_assert_eq!(breakdown.interest.currency, principal.currency);
    let per_major = BigInt::from(principal.currency.minor_units_per_major());
    let in_major = BigRational::new_raw(exact.numer().clone(), exact.denom() * per_major);
    prop_assert_eq!(&breakdown.exact_interest, &plain::decimals(&in_major));
    prop_assert_eq!(&breakdown.growth_factor, &plain::decimals(&growth));
    prop_assert_eq!(breakdown.compounding_periods as usize, plain::lengths(terms, period).len());
    prop_assert_eq!((breakdown.terms, breakdown.period, breakdown.principal), (*terms, period, principal));
    let (fraction, days) = match period {
        Period::OneYear => (plain::rational(1, 1), 0),
        Period::Dates(range) => (
            plain::year_fraction(terms.day_count, range.start(), range.end()),
            range.start().until(range.end()).unwrap().get_days().unsigned_abs(),
        ),
    };
    prop_assert_eq!((breakdown.year_fraction, breakdown.days), (fraction.to_string(), days));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn interest_matches_the_plain_calculation(
        minor_units in principals(),
        terms in terms(),
        period in periods(800),
        code in prop::sample::select(vec!["USD", "JPY", "KWD", "CLF"]),
    ) {
        check_against_plain(money(code, minor_units), &terms, period)?;
    }

    /// Exact ties of half a minor unit: short rates, simple, on what divides evenly.
    #[test]
    fn ties_match_the_plain_calculation(
        minor_units in -2_000_i64..2_000,
        quarters in -40_i64..40,
        terms in terms(),
        compounding in prop::sample::select(vec![Compounding::Simple, Compounding::Yearly, Compounding::Quarterly]),
    ) {
        let annual_rate = format!("{}{}", if quarters < 0 { "-" } else { "" }, quarters.abs() * 25).parse().unwrap();
        let terms = Terms { annual_rate, compounding, ..terms };
        check_against_plain(money("USD", minor_units), &terms, Period::OneYear)?;
    }

    /// Turning the sign of the principal turns that of the interest, for the modes that do not favour one.
    #[test]
    fn symmetric_modes_are_symmetric(
        minor_units in prop_oneof![-10_000_i64..10_000, -i64::MAX..=i64::MAX],
        terms in terms(),
        period in periods(36_524),
    ) {
        use RoundingMode::{Ceiling, Floor};
        let terms = calculable(terms, period);
        let mirrored = Terms {
            rounding_mode: match terms.rounding_mode {
                Floor => Ceiling,
                Ceiling => Floor,
                symmetric => symmetric,
            },
            ..terms
        };
        let interest = interest::calculate(money("USD", minor_units), &terms, period);
        let opposite = interest::calculate(money("USD", -minor_units), &mirrored, period);
        match (interest, opposite) {
            (Ok(interest), Ok(opposite)) => {
                prop_assert_eq!(interest.interest.minor_units, -opposite.interest.minor_units);
                prop_assert_eq!(
                    interest.exact_interest.trim_start_matches('-'),
                    opposite.exact_interest.trim_start_matches('-')
                );
                prop_assert_eq!(interest.growth_factor, opposite.growth_factor);
            }
            // The lowest integer has no counterpart.
            (Ok(lowest), Err(Overflow)) | (Err(Overflow), Ok(lowest)) => {
                prop_assert_eq!(lowest.interest.minor_units, i64::MIN);
            }
            (Err(Overflow), Err(Overflow)) => {}
        }
    }

    /// Simple interest with the sign of the rate turned is the same amount taken.
    #[test]
    fn simple_interest_is_odd_in_the_rate(
        minor_units in -1_000_000_000_i64..1_000_000_000,
        terms in terms(),
        period in periods(36_524),
    ) {
        let text = terms.annual_rate.to_string();
        let opposite_text = text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned);
        let simple = Terms {
            compounding: Compounding::Simple,
            rounding_mode: RoundingMode::HalfEven,
            ..terms
        };
        let opposite = Terms { annual_rate: opposite_text.parse().unwrap(), ..simple };
        let interest = interest::calculate(money("USD", minor_units), &simple, period).unwrap();
        let taken = interest::calculate(money("USD", minor_units), &opposite, period).unwrap();
        prop_assert_eq!(interest.interest.minor_units, -taken.interest.minor_units);
    }

    /// Any principal, any rate, any period: an answer or an overflow, and never a panic. The modes
    /// bracket the exact interest.
    #[test]
    fn every_legal_input_has_an_answer(minor_units in principals(), terms in terms(), period in periods(36_524)) {
        let terms = calculable(terms, period);
        let by = |rounding_mode| {
            interest::calculate(money("USD", minor_units), &Terms { rounding_mode, ..terms }, period)
                .map(|breakdown| breakdown.interest.minor_units)
        };
        if let (Ok(floor), Ok(ceiling)) = (by(RoundingMode::Floor), by(RoundingMode::Ceiling)) {
            prop_assert!(ceiling - floor <= 1);
            for mode in RoundingMode::ALL {
                let rounded = by(*mode).unwrap();
                prop_assert!(rounded == floor || rounded == ceiling, "{}", mode);
            }
        }
    }
}

/// A century takes seconds the plain way, so only a few.
#[test]
fn centuries_match_the_plain_calculation() {
    for (rate, day_count, compounding, start, end) in [
        ("2.5", DayCount::ActActIsda, Compounding::Monthly, "1904-08-31", "2004-08-30"),
        ("-1.2345678901", DayCount::Thirty360Bond, Compounding::Monthly, "1903-12-31", "2003-12-31"),
        ("-399.9999999999", DayCount::ThirtyE360, Compounding::Quarterly, "1900-01-31", "2000-01-31"),
        ("-400", DayCount::ThirtyE360, Compounding::Quarterly, "1900-01-31", "2000-01-31"),
        ("0.0000000001", DayCount::Act360, Compounding::Yearly, "1904-02-29", "2004-02-29"),
        ("3.3333333333", DayCount::ActActIsda, Compounding::Daily, "1996-02-29", "2006-03-01"),
    ] {
        let terms = Terms { day_count, compounding, ..Terms::new(rate.parse().unwrap()) };
        let period = DateRange::parse(start, end).unwrap().into();
        for minor_units in [0, 1, -123_456_789, i64::MAX, i64::MIN] {
            check_against_plain(money("USD", minor_units), &terms, period).unwrap();
        }
    }
}

/// The largest growth factor: 1000 % compounded daily for ten years.
#[test]
fn the_largest_factors_are_printed_in_full() {
    let terms = Terms {
        compounding: Compounding::Daily,
        day_count: DayCount::Act360,
        ..Terms::new("1000".parse().unwrap())
    };
    let ten_years = DateRange::parse("1904-01-01", "1914-01-08").unwrap().into();
    assert_eq!(terms.require_calculable(ten_years), Ok(()));
    let breakdown = interest::calculate(money("USD", 0), &terms, ten_years).unwrap();
    assert_eq!(breakdown.interest.minor_units, 0);
    assert_eq!(breakdown.exact_interest, "0.000000000000000000");
    let growth: BigRational = plain::rational(37, 36);
    assert_eq!(
        breakdown.growth_factor,
        plain::decimals(&BigRational::new_raw(growth.numer().pow(3_660_u32), growth.denom().pow(3_660_u32)))
    );
    assert_eq!(breakdown.growth_factor.split_once('.').unwrap().0.len(), 44);
    assert_eq!(interest::calculate(money("USD", 1), &terms, ten_years), Err(Overflow));
}
