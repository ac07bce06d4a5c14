//! Rates of interest.

use std::{fmt, str::FromStr};

use num_rational::Ratio;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// How large a rate may be, in percent a year, of either sign.
const PERCENT_MAX: i64 = 1_000;
/// How many decimals a rate may be written with.
const DECIMALS_MAX: usize = 10;
/// How many decimals a rate is shown to people with, at least.
const DECIMALS_SHOWN_MIN: usize = 4;

/// A rate of interest in percent a year, from -1000 to 1000, exact to at most 10 decimals.
///
/// ```
/// use bank_domain::interest::AnnualRate;
///
/// let rate: AnnualRate = "2.50".parse()?;
/// assert_eq!(rate, "2.5".parse()?);
/// assert_eq!(rate.to_string(), "2.5");
/// assert_eq!(rate.to_percent_string(), "2.5000%");
/// assert!("2.5e0".parse::<AnnualRate>().is_err());
/// assert!("1000.01".parse::<AnnualRate>().is_err());
/// # Ok::<(), bank_domain::interest::InvalidAnnualRate>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AnnualRate(Decimal);

/// The text is not an annual rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnualRate {
    /// It is not digits, optionally with a minus sign before and a point between them.
    #[error("{text:?} is not a rate; write percent a year like 2.5")]
    Malformed {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// It has too many decimals.
    #[error("{text} has {decimals} decimals; a rate has at most {DECIMALS_MAX}")]
    TooManyDecimals {
        /// What was given.
        text: String,
        /// How many decimals it has.
        decimals: usize,
    },
    /// It is too large or too small.
    #[error("{text} is outside -{PERCENT_MAX} to {PERCENT_MAX} percent a year")]
    OutOfRange {
        /// What was given.
        text: String,
    },
}

impl AnnualRate {
    /// The rate as people read it: `2.5000%`, with four decimals, or more if it has more.
    pub fn to_percent_string(self) -> String {
        let decimals = DECIMALS_SHOWN_MIN.max(self.0.scale() as usize);
        format!("{:.decimals$}%", self.0)
    }

    /// The rate as a fraction: 2.5 % is 1/40. Its denominator divides a power of ten.
    pub(super) fn to_fraction(self) -> Ratio<i128> {
        Ratio::new(self.0.mantissa(), 100 * 10_i128.pow(self.0.scale()))
    }
}

impl FromStr for AnnualRate {
    type Err = InvalidAnnualRate;

    /// Reads `2.5`, `-0.25`, `0`: no exponent, no plus sign, no spaces.
    fn from_str(text: &str) -> Result<Self, InvalidAnnualRate> {
        let malformed = || InvalidAnnualRate::Malformed { text: text.chars().take(32).collect() };
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(malformed()),
            Some((whole, fraction)) => (whole, fraction),
            None => (unsigned, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.len() > 64 {
            return Err(malformed());
        }
        let decimals = fraction.len();
        if decimals > DECIMALS_MAX {
            return Err(InvalidAnnualRate::TooManyDecimals { text: text.to_owned(), decimals });
        }
        let sign = if negative { "-" } else { "" };
        format!("{sign}{whole}.{fraction:0<1}")
            .parse::<Decimal>()
            .ok()
            .filter(|rate| rate.abs() <= Decimal::from(PERCENT_MAX))
            .map(|rate| Self(rate.normalize()))
            .ok_or_else(|| InvalidAnnualRate::OutOfRange { text: text.to_owned() })
    }
}

impl TryFrom<String> for AnnualRate {
    type Error = InvalidAnnualRate;

    fn try_from(text: String) -> Result<Self, InvalidAnnualRate> {
        text.parse()
    }
}

impl From<AnnualRate> for String {
    fn from(rate: AnnualRate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for AnnualRate {
    /// The shortest exact form: `2.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> AnnualRate {
        text.parse().unwrap()
    }

    #[test]
    fn rates_print_in_one_form() {
        for (text, printed, for_people) in [
            ("2.5", "2.5", "2.5000%"),
            ("2.50", "2.5", "2.5000%"),
            ("2.5000000000", "2.5", "2.5000%"),
            ("002.5", "2.5", "2.5000%"),
            ("0", "0", "0.0000%"),
            ("-0", "0", "0.0000%"),
            ("-0.000", "0", "0.0000%"),
            ("-0.25", "-0.25", "-0.2500%"),
            ("100", "100", "100.0000%"),
            ("1000", "1000", "1000.0000%"),
            ("-1000.0000000000", "-1000", "-1000.0000%"),
            ("3.12345", "3.12345", "3.12345%"),
            ("0.0000000001", "0.0000000001", "0.0000000001%"),
            ("-999.9999999999", "-999.9999999999", "-999.9999999999%"),
        ] {
            assert_eq!(rate(text).to_string(), printed, "{text}");
            assert_eq!(rate(text).to_percent_string(), for_people, "{text}");
            assert_eq!(rate(printed), rate(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rate_is_an_error_that_says_so() {
        for (text, message) in [
            ("", "\"\" is not a rate; write percent a year like 2.5"),
            ("-", "\"-\" is not a rate; write percent a year like 2.5"),
            ("+2", "\"+2\" is not a rate; write percent a year like 2.5"),
            (" 2", "\" 2\" is not a rate; write percent a year like 2.5"),
            ("2 ", "\"2 \" is not a rate; write percent a year like 2.5"),
            (".5", "\".5\" is not a rate; write percent a year like 2.5"),
            ("5.", "\"5.\" is not a rate; write percent a year like 2.5"),
            ("2,5", "\"2,5\" is not a rate; write percent a year like 2.5"),
            ("2_5", "\"2_5\" is not a rate; write percent a year like 2.5"),
            ("2.5%", "\"2.5%\" is not a rate; write percent a year like 2.5"),
            ("2.5e0", "\"2.5e0\" is not a rate; write percent a year like 2.5"),
            ("1.2.3", "\"1.2.3\" is not a rate; write percent a year like 2.5"),
            ("--1", "\"--1\" is not a rate; write percent a year like 2.5"),
            ("NaN", "\"NaN\" is not a rate; write percent a year like 2.5"),
            ("２", "\"２\" is not a rate; write percent a year like 2.5"),
            ("0.00000000001", "0.00000000001 has 11 decimals; a rate has at most 10"),
            ("2.50000000000", "2.50000000000 has 11 decimals; a rate has at most 10"),
            ("1000.0000000001", "1000.0000000001 is outside -1000 to 1000 percent a year"),
            ("-1000.1", "-1000.1 is outside -1000 to 1000 percent a year"),
            ("1001", "1001 is outside -1000 to 1000 percent a year"),
            (
                "99999999999999999999999999999999999999999",
                "99999999999999999999999999999999999999999 is outside -1000 to 1000 percent a year",
            ),
        ] {
            assert_eq!(text.parse::<AnnualRate>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn fractions_are_exact() {
        for (text, numerator, denominator) in [
            ("2.5", 1, 40),
            ("-0.25", -1, 400),
            ("0", 0, 1),
            ("1000", 10, 1),
            ("0.0000000001", 1, 1_000_000_000_000),
        ] {
            assert_eq!(rate(text).to_fraction(), Ratio::new(numerator, denominator), "{text}");
        }
    }

    #[test]
    fn rates_are_stored_as_text() {
        assert_eq!(serde_json::to_string(&rate("2.50")).unwrap(), "\"2.5\"");
        assert_eq!(serde_json::from_str::<AnnualRate>("\"-0.25\"").unwrap(), rate("-0.25"));
        assert!(serde_json::from_str::<AnnualRate>("\"1001\"").is_err());
        assert!(serde_json::from_str::<AnnualRate>("2.5").is_err());
    }
}
