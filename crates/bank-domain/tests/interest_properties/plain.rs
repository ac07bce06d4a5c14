//! The formulas once more, the plain way.
//!
//! No code is shared: the period is cut date by date, ACT/ACT counted day by day, every factor
//! multiplied out with all its digits, and the result rounded by the rational crate's own functions.

use std::{cmp::Ordering, str::FromStr};

use bank_domain::interest::{AnnualRate, Compounding, DayCount, Period, RoundingMode, Terms};
use jiff::{ToSpan, civil::Date};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, Signed, Zero};

pub(crate) fn rational(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(numerator.into(), denominator.into())
}

pub(crate) fn rate(rate: AnnualRate) -> BigRational {
    let text = rate.to_string();
    let (digits, decimals) = match text.split_once('.') {
        Some((whole, fraction)) => (format!("{whole}{fraction}"), fraction.len()),
        None => (text, 0),
    };
    BigRational::new(
        BigInt::from_str(&digits).unwrap(),
        BigInt::from(100) * BigInt::from(10).pow(u32::try_from(decimals).unwrap()),
    )
}

fn days(start: Date, end: Date) -> i64 {
    i64::from(start.until(end).unwrap().get_days())
}

pub(crate) fn year_fraction(day_count: DayCount, start: Date, end: Date) -> BigRational {
    let thirty_360 = |start_day: i8, end_day: i8| {
        let months = i64::from(end.year() - start.year()) * 12 + i64::from(end.month() - start.month());
        rational(months * 30 + i64::from(end_day - start_day), 360)
    };
    match day_count {
        DayCount::Act365Fixed => rational(days(start, end), 365),
        DayCount::Act360 => rational(days(start, end), 360),
        DayCount::ActActIsda => {
            let leap =
                start.series(1.day()).take_while(|date| *date < end).filter(|date| date.in_leap_year());
            let leap_days = i64::try_from(leap.count()).unwrap();
            rational(leap_days, 366) + rational(days(start, end) - leap_days, 365)
        }
        DayCount::Thirty360Bond => {
            let start_day = if start.day() == 31 { 30 } else { start.day() };
            let end_day = if end.day() == 31 && start_day > 29 { 30 } else { end.day() };
            thirty_360(start_day, end_day)
        }
        DayCount::ThirtyE360 => {
            let thirty = |date: Date| if date.day() == 31 { 30 } else { date.day() };
            thirty_360(thirty(start), thirty(end))
        }
    }
}

/// The length of every sub-period, one by one.
pub(crate) fn lengths(terms: &Terms, period: Period) -> Vec<BigRational> {
    let range = match (period, terms.compounding) {
        (Period::OneYear, Compounding::Simple | Compounding::Yearly) => return vec![rational(1, 1)],
        (Period::OneYear, Compounding::Quarterly) => return vec![rational(1, 4); 4],
        (Period::OneYear, Compounding::Monthly) => return vec![rational(1, 12); 12],
        (Period::OneYear, Compounding::Daily) => return vec![rational(1, 365); 365],
        (Period::Dates(range), _) => range,
    };
    let unit = match terms.compounding {
        Compounding::Simple => return vec![year_fraction(terms.day_count, range.start(), range.end())],
        Compounding::Daily => 1.day(),
        Compounding::Monthly => 1.month(),
        Compounding::Quarterly => 3.months(),
        Compounding::Yearly => 1.year(),
    };
    // A series counts every date from the start, and keeps the day within the month.
    let mut cuts: Vec<Date> = range.start().series(unit).take_while(|date| *date < range.end()).collect();
    cuts.push(range.end());
    cuts.windows(2).map(|cut| year_fraction(terms.day_count, cut[0], cut[1])).collect()
}

pub(crate) fn growth(terms: &Terms, period: Period) -> BigRational {
    let (mut numerator, mut denominator) = (BigInt::from(1), BigInt::from(1));
    for length in lengths(terms, period) {
        let factor = rate(terms.annual_rate) * length + rational(1, 1);
        numerator *= factor.numer();
        denominator *= factor.denom();
    }
    // Taking out the common divisor of numbers this long would take most of the time.
    BigRational::new_raw(numerator, denominator)
}

pub(crate) fn round(exact: &BigRational, mode: RoundingMode) -> BigInt {
    let toward_zero = exact.trunc().to_integer();
    let away = if exact.fract().is_zero() {
        toward_zero.clone()
    } else if exact.is_negative() {
        &toward_zero - 1
    } else {
        &toward_zero + 1
    };
    let twice_the_rest = (exact.fract().abs() * rational(2, 1)).cmp(&rational(1, 1));
    let nearest = |tie: BigInt| match twice_the_rest {
        Ordering::Less => toward_zero.clone(),
        Ordering::Equal => tie,
        Ordering::Greater => away.clone(),
    };
    match mode {
        RoundingMode::HalfEven => {
            nearest(if toward_zero.bit(0) { away.clone() } else { toward_zero.clone() })
        }
        RoundingMode::HalfUp => nearest(away.clone()),
        RoundingMode::HalfDown => nearest(toward_zero.clone()),
        RoundingMode::Down => toward_zero,
        RoundingMode::Up => away,
        RoundingMode::Floor => exact.floor().to_integer(),
        RoundingMode::Ceiling => exact.ceil().to_integer(),
    }
}

/// Digits of the decimal expansion, cut toward zero.
pub(crate) fn decimals(exact: &BigRational) -> String {
    let scaled = exact.numer() * BigInt::from(10).pow(18_u32) / exact.denom();
    let sign = if scaled.is_negative() { "-" } else { "" };
    let digits = format!("{:0>19}", scaled.magnitude().to_string());
    format!("{sign}{}.{}", &digits[..digits.len() - 18], &digits[digits.len() - 18..])
}
