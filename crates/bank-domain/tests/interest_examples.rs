//! Interest against published worked examples. Each test names its source.

#![expect(clippy::unwrap_used, reason = "a test that fails here says so")]

use bank_domain::{
    Currency, Money,
    interest::{self, Breakdown, Compounding, DateRange, DayCount, Period, Terms},
};

fn usd(decimal: &str) -> Money {
    Money::parse_decimal(decimal, Currency::USD).unwrap()
}

fn dates(start: &str, end: &str) -> Period {
    DateRange::parse(start, end).unwrap().into()
}

fn terms(rate: &str, compounding: Compounding) -> Terms {
    Terms { compounding, ..Terms::new(rate.parse().unwrap()) }
}

fn calculate(principal: &str, terms: &Terms, period: Period) -> Breakdown {
    interest::calculate(usd(principal), terms, period).unwrap()
}

/// Days over 360, as tables of 30/360 print them.
fn check_days_of_360(day_count: DayCount, start: &str, end: &str, days: i64) {
    let fraction = day_count.year_fraction(dates(start, end));
    assert_eq!((fraction * 360).to_integer(), days, "{day_count} {start}/{end}");
    assert_eq!(360 % fraction.denom(), 0);
}

/// The bank's own sample, from its documentation: 2.5 % on $500.00 for one year, all defaults.
#[test]
fn the_banks_own_sample() {
    let breakdown = calculate("500.00", &Terms::new("2.5".parse().unwrap()), Period::default());
    assert_eq!(breakdown.interest, usd("12.50"));
    assert_eq!(breakdown.exact_interest, "12.500000000000000000");
    assert_eq!(breakdown.growth_factor, "1.025000000000000000");
    assert_eq!(breakdown.year_fraction, "1");
    assert_eq!((breakdown.days, breakdown.compounding_periods), (0, 1));
    assert_eq!(
        format!(
            "Applied annual interest rate of {} to bank amount of {} for interest amount of {}",
            breakdown.terms.annual_rate.to_percent_string(),
            breakdown.principal,
            breakdown.interest
        ),
        "Applied annual interest rate of 2.5000% to bank amount of $500.00 for interest amount of $12.50"
    );
}

/// ISDA, "EMU and Market Conventions: Recent Developments" (November 1998) and "The Actual-Actual Day
/// Count Fraction" (1999), which corrects a misprint of the first: the worked comparison of ACT/ACT, in
/// its ISDA form, as days over 365 and days over 366. The decimals are those of `QuantLib`'s test of these
/// examples (`testActualActual`), cut to nine; the last is Strata's and `QuantLib` has it for ICMA only.
#[test]
fn act_act_isda_examples_of_the_isda_paper_of_1998() {
    for (start, end, of_365, of_366, decimal) in [
        ("2003-11-01", "2004-05-01", 61, 121, "0.497724380"),
        ("1999-02-01", "1999-07-01", 150, 0, "0.410958904"),
        ("1999-07-01", "2000-07-01", 184, 182, "1.001377348"),
        ("2002-08-15", "2003-07-15", 334, 0, "0.915068493"),
        ("2003-07-15", "2004-01-15", 170, 14, "0.504004790"),
        ("1999-07-30", "2000-01-30", 155, 29, "0.503892506"),
        ("2000-01-30", "2000-06-30", 0, 152, "0.415300546"),
        ("1999-11-30", "2000-04-30", 32, 120, "0.415540085"),
    ] {
        let period = dates(start, end);
        let fraction = DayCount::ActActIsda.year_fraction(period);
        assert_eq!(fraction * 365 * 366, (of_365 * 366 + of_366 * 365).into(), "{period}");

        // The same through the front door: the growth of one unit at 100 % is 1 plus the fraction.
        let terms = Terms { day_count: DayCount::ActActIsda, ..Terms::new("100".parse().unwrap()) };
        let breakdown = calculate("1.00", &terms, period);
        assert_eq!(breakdown.year_fraction, fraction.to_string());
        assert_eq!(&breakdown.exact_interest[..decimal.len()], decimal, "{period}");
    }
}

/// ISDA, `30-360-2006ISDADefs.xls` ("30/360 day count conventions", 22 December 2008), the worked
/// examples of 30/360 (Bond Basis), as `QuantLib`'s test suite has them too.
#[test]
fn thirty_360_bond_basis_examples_of_the_isda_spreadsheet() {
    for (start, end, days) in [
        ("2006-08-20", "2007-02-20", 180),
        ("2007-02-20", "2007-08-20", 180),
        ("2007-08-20", "2008-02-20", 180),
        ("2008-02-20", "2008-08-20", 180),
        ("2008-08-20", "2009-02-20", 180),
        ("2009-02-20", "2009-08-20", 180),
        ("2006-08-31", "2007-02-28", 178),
        ("2007-02-28", "2007-08-31", 183),
        ("2007-08-31", "2008-02-29", 179),
        ("2008-02-29", "2008-08-31", 182),
        ("2008-08-31", "2009-02-28", 178),
        ("2009-02-28", "2009-08-31", 183),
        ("2006-01-31", "2006-02-28", 28),
        ("2006-01-30", "2006-02-28", 28),
        ("2006-02-28", "2006-03-03", 5),
        ("2006-02-14", "2006-02-28", 14),
        ("2006-09-30", "2006-10-31", 30),
        ("2006-10-31", "2006-11-28", 28),
        ("2007-08-31", "2008-02-28", 178),
        ("2008-02-28", "2008-08-28", 180),
        ("2008-02-28", "2008-08-30", 182),
        ("2008-02-28", "2008-08-31", 183),
        ("2007-02-26", "2008-02-28", 362),
        ("2007-02-26", "2008-02-29", 363),
        ("2008-02-29", "2009-02-28", 359),
        ("2008-02-28", "2008-03-30", 32),
        ("2008-02-28", "2008-03-31", 33),
    ] {
        check_days_of_360(DayCount::Thirty360Bond, start, end, days);
    }
}

/// ISDA, `30-360-2006ISDADefs.xls`, the examples of 30E/360 (Eurobond Basis) and, on the same dates,
/// of ACT/360.
#[test]
fn thirty_e_360_and_act_360_examples_of_the_isda_spreadsheet() {
    for (start, end, thirty_e_360, act_360) in [
        ("2007-01-15", "2007-01-30", 15, 15),
        ("2007-01-15", "2007-02-15", 30, 31),
        ("2007-01-15", "2007-07-15", 180, 181),
        ("2007-09-30", "2008-03-31", 180, 183),
        ("2007-09-30", "2007-10-31", 30, 31),
        ("2007-09-30", "2008-09-30", 360, 366),
        ("2007-01-15", "2007-01-31", 15, 16),
        ("2007-01-31", "2007-02-28", 28, 28),
        ("2007-02-28", "2007-03-31", 32, 31),
        ("2006-08-31", "2007-02-28", 178, 181),
        ("2007-02-28", "2007-08-31", 182, 184),
        ("2007-02-14", "2007-02-28", 14, 14),
        ("2007-02-26", "2008-02-29", 363, 368),
        ("2008-02-29", "2009-02-28", 359, 365),
        ("2008-02-29", "2008-03-30", 31, 30),
        ("2008-02-29", "2008-03-31", 31, 31),
        ("2007-02-28", "2007-03-05", 7, 5),
        ("2007-10-31", "2007-11-28", 28, 28),
        ("2007-08-31", "2008-02-29", 179, 182),
        ("2008-02-29", "2008-08-31", 181, 184),
        ("2008-08-31", "2009-02-28", 178, 181),
        ("2009-02-28", "2009-08-31", 182, 184),
    ] {
        check_days_of_360(DayCount::ThirtyE360, start, end, thirty_e_360);
        check_days_of_360(DayCount::Act360, start, end, act_360);
    }
}

/// ISDA, `30-360-2006ISDADefs.xls`, its footnote: by bond basis two halves of a year may sum to 361.
#[test]
fn two_halves_of_a_bond_basis_year_may_sum_to_361() {
    let days = |day_count: DayCount| {
        ["2007-02-28/2007-08-31", "2007-08-31/2008-02-28"]
            .map(|range| range.split_once('/').unwrap())
            .map(|(start, end)| (day_count.year_fraction(dates(start, end)) * 360).to_integer())
    };
    assert_eq!(days(DayCount::Thirty360Bond), [183, 178]);
    assert_eq!(days(DayCount::ThirtyE360), [182, 178]);
}

/// 12 CFR Part 1030 (Regulation DD, Truth in Savings), Appendix A, part I: the interest amounts of its
/// examples of the annual percentage yield. For the tiers it gives rate and compounding; for the account
/// and the certificate only the amounts, which are those of 6 % compounded monthly and daily.
#[test]
fn interest_amounts_of_regulation_dd() {
    for (principal, rate, compounding, period, interest) in [
        // "Tiering method A": 5.25 %, 5.50 % and 5.75 %, compounded daily, for a year.
        ("1000.00", "5.25", Compounding::Daily, Period::OneYear, "53.90"),
        ("8000.00", "5.50", Compounding::Daily, Period::OneYear, "452.29"),
        ("20000.00", "5.75", Compounding::Daily, Period::OneYear, "1183.61"),
        // "General formula": $61.68 on $1,000 in a NOW account in a year of 365 days, 6.17 %.
        ("1000.00", "6", Compounding::Monthly, Period::OneYear, "61.68"),
        // "General formula": $30.37 on a six-month certificate of $1,000 in 182 days, 6.18 %.
        ("1000.00", "6", Compounding::Daily, dates("2026-01-01", "2026-07-02"), "30.37"),
    ] {
        let breakdown = calculate(principal, &terms(rate, compounding), period);
        assert_eq!(breakdown.interest, usd(interest), "{rate} % on {principal}");
    }
    // A year of 365 dates is the same as one year: the tiers again.
    let breakdown =
        calculate("8000.00", &terms("5.50", Compounding::Daily), dates("2025-01-01", "2026-01-01"));
    assert_eq!((breakdown.interest, breakdown.compounding_periods), (usd("452.29"), 365));
}

/// Effective annual rates of nominal ones, `(1 + r/n)^n − 1`, as tables of them print (for example
/// Wikipedia, "Effective interest rate", its table of nominal and effective rates).
#[test]
fn effective_rates_of_published_tables() {
    // Nominal; effective in percent to three decimals by quarters, months, days.
    for (rate, quarterly, monthly, daily) in [
        ("1", "1.004", "1.005", "1.005"),
        ("5", "5.095", "5.116", "5.127"),
        ("10", "10.381", "10.471", "10.516"),
        ("15", "15.865", "16.075", "16.180"),
        ("20", "21.551", "21.939", "22.134"),
        ("30", "33.547", "34.489", "34.969"),
        ("40", "46.410", "48.213", "49.150"),
        ("50", "60.181", "63.209", "64.816"),
    ] {
        for (compounding, effective) in [
            (Compounding::Quarterly, quarterly),
            (Compounding::Monthly, monthly),
            (Compounding::Daily, daily),
        ] {
            // On $1,000.00, cents are thousandths of a percent.
            let breakdown = calculate("1000.00", &terms(rate, compounding), Period::OneYear);
            let cents = breakdown.interest.minor_units;
            let printed = format!("{}.{:03}", cents / 1000, cents % 1000);
            assert_eq!(printed, effective, "{rate} % {compounding}");
        }
    }
}

/// The effective rates that textbooks of finance quote to four decimals: 5 % is 5.0945 % by quarters,
/// 5.1162 % by months and 5.1267 % by days; 12 % is 12.5509 %, 12.6825 % and 12.7475 %.
#[test]
fn effective_rates_of_textbooks() {
    for (rate, compounding, effective) in [
        ("5", Compounding::Yearly, 50_000),
        ("5", Compounding::Quarterly, 50_945),
        ("5", Compounding::Monthly, 51_162),
        ("5", Compounding::Daily, 51_267),
        ("12", Compounding::Yearly, 120_000),
        ("12", Compounding::Quarterly, 125_509),
        ("12", Compounding::Monthly, 126_825),
        ("12", Compounding::Daily, 127_475),
    ] {
        // On a million yen, whole yen are the fourth decimal of the percentage.
        let yen = Money { currency: "JPY".parse().unwrap(), minor_units: 1_000_000 };
        let breakdown = interest::calculate(yen, &terms(rate, compounding), Period::OneYear).unwrap();
        assert_eq!(breakdown.interest.minor_units, effective, "{rate} % {compounding}");
    }
}

/// `OpenStax`, "College Algebra 2e" (2021), section 6.1 "Exponential Functions": $1,000 at 10 % for a year
/// by frequency of compounding (its table), and $3,000 at 3 % by quarters for ten years (its example 8).
#[test]
fn compound_interest_of_college_algebra() {
    for (compounding, interest) in [
        (Compounding::Yearly, "100.00"),
        (Compounding::Quarterly, "103.81"),
        (Compounding::Monthly, "104.71"),
        (Compounding::Daily, "105.16"),
    ] {
        let breakdown = calculate("1000.00", &terms("10", compounding), Period::OneYear);
        assert_eq!(breakdown.interest, usd(interest), "{compounding}");
    }
    // Quarters of equal length: months of 30 days.
    let terms = Terms { day_count: DayCount::ThirtyE360, ..terms("3", Compounding::Quarterly) };
    let breakdown = calculate("3000.00", &terms, dates("2010-01-01", "2020-01-01"));
    assert_eq!(breakdown.interest, usd("1045.05"));
    assert_eq!((breakdown.compounding_periods, breakdown.year_fraction.as_str()), (40, "10"));
}

/// Jacob Bernoulli's question of 1683: 100 % compounded ever more often comes near e = 2.71828…; by
/// days it is 2.714567…, as accounts of the constant print it.
#[test]
fn bernoullis_hundred_percent() {
    for (compounding, growth_factor) in [
        (Compounding::Yearly, "2.000000000000000000"),
        (Compounding::Quarterly, "2.441406250000000000"),
        (Compounding::Monthly, "2.613035290224"),
        (Compounding::Daily, "2.714567482"),
    ] {
        let breakdown = calculate("1.00", &terms("100", compounding), Period::OneYear);
        assert!(breakdown.growth_factor.starts_with(growth_factor), "{}", breakdown.growth_factor);
    }
}
