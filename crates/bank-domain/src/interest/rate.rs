//! Rates of interest.

use std::{fmt, str::FromStr};

use num_rational::Ratio;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{money::split_decimal, newtype::stored_as_text};

/// The largest rate of either sign, in percent a year.
const PERCENT_MAX: i64 = 1_000;
/// The most decimals of a rate.
const DECIMALS_MAX: usize = 10;
/// The fewest decimals that a rate is displayed with.
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
    /// Not digits with an optional minus sign and an optional point.
    #[error("{text:?} is not a rate; write percent a year like 2.5")]
    Malformed {
        /// The text, cut to 32 characters.
        text: String,
    },
    /// More than 10 decimals.
    #[error("{text} has {decimals} decimals; a rate has at most {DECIMALS_MAX}")]
    TooManyDecimals {
        /// The text.
        text: String,
        /// The number of decimals given.
        decimals: usize,
    },
    /// Outside -1000 to 1000.
    #[error("{text} is outside -{PERCENT_MAX} to {PERCENT_MAX} percent a year")]
    OutOfRange {
        /// The text.
        text: String,
    },
}

impl AnnualRate {
    /// The rate for display, with at least four decimals: `2.5000%`.
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
        let (sign, whole, fraction) = split_decimal(text).ok_or_else(malformed)?;
        let decimals = fraction.len();
        if decimals > DECIMALS_MAX {
            return Err(InvalidAnnualRate::TooManyDecimals { text: text.to_owned(), decimals });
        }
        format!("{sign}{whole}.{fraction:0<1}")
            .parse::<Decimal>()
            .ok()
            .filter(|rate| rate.abs() <= Decimal::from(PERCENT_MAX))
            .map(|rate| Self(rate.normalize()))
            .ok_or_else(|| InvalidAnnualRate::OutOfRange { text: text.to_owned() })
    }
}

stored_as_text!(AnnualRate, InvalidAnnualRate, to_string);

impl fmt::Display for AnnualRate {
    /// The shortest exact form: `2.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
