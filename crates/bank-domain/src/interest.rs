//! Interest, exact until the one rounding at its end.
//!
//! [`calculate`] takes a principal `P`, [`Terms`] and a [`Period`], and returns the interest and its
//! breakdown.
//!
//! # The formulas
//!
//! Let `r` be the annual rate (2.5 % is 0.025) and `τ` the length of a period in years, which the
//! [`DayCount`] defines.
//!
//! - Simple: the growth factor is `G = 1 + r·τ` of the whole period.
//! - Compounded: the period is cut into sub-periods ([`Compounding`] says where), and
//!   `G = (1 + r·τ₁)·(1 + r·τ₂)·…`.
//! - Either way, the interest is `P·(G − 1)`, rounded to whole minor units by the [`RoundingMode`].
//!
//! Rates and principals of either sign are valid, and so is a rate so negative that a factor
//! `1 + r·τ` is zero or below: the formulas hold as they stand. −1000 % simple for a year takes ten
//! times the principal.
//!
//! # Exactness and cost
//!
//! All arithmetic is exact, on integers and fractions of any length; the only rounding is the last
//! step. Results get longer with the number of sub-periods, so daily compounding is limited to ten
//! years ([`Terms::require_calculable`]). Within that, no input takes more than a few milliseconds.
//!
//! ```
//! use bank_domain::{Currency, Money, interest::{self, Period, Terms}};
//!
//! let principal = Money { currency: Currency::USD, minor_units: 50_000 };
//! let breakdown = interest::calculate(principal, &Terms::new("2.5".parse()?), Period::OneYear)?;
//! assert_eq!(breakdown.interest.to_string(), "$12.50");
//! assert_eq!(breakdown.terms.annual_rate.to_percent_string(), "2.5000%");
//! assert_eq!(breakdown.growth_factor, "1.025000000000000000");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compounding;
mod day_count;
mod period;
mod rate;
mod rounding;
mod terms;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;
use serde::{Deserialize, Serialize};

pub use compounding::Compounding;
pub use day_count::DayCount;
pub use period::{DateRange, InvalidDate, InvalidDateRange, Period};
pub use rate::{AnnualRate, InvalidAnnualRate};
pub use rounding::RoundingMode;
pub use terms::{DAILY_COMPOUNDING_DAYS_MAX, PeriodTooLong, Terms};

use crate::{Money, Overflow};
use compounding::SubPeriods;

/// The decimals of the growth factor and of the exact interest.
const DECIMALS: u32 = 18;

/// An amount of interest and its calculation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Breakdown {
    /// The terms applied.
    pub terms: Terms,
    /// The period that the interest is for.
    pub period: Period,
    /// The amount that the interest was calculated on.
    pub principal: Money,
    /// Calendar days from the start of the period to its end; 0 for one year.
    pub days: u32,
    /// The whole period in years by the day count, in lowest terms: `181/365`, `1`.
    pub year_fraction: String,
    /// The number of times that interest was added to the principal; 1 for simple.
    pub compounding_periods: u32,
    /// What one unit grows to over the period, to 18 decimals, truncated.
    pub growth_factor: String,
    /// The interest before rounding in major units of the currency, to 18 decimals, truncated.
    pub exact_interest: String,
    /// The interest, rounded once, from its exact value.
    pub interest: Money,
}

/// The interest on a principal over a period.
///
/// ```
/// use bank_domain::{Currency, Money, interest::{self, Compounding, DateRange, Terms}};
///
/// let terms = Terms { compounding: Compounding::Daily, ..Terms::new("6".parse()?) };
/// let half_year = DateRange::parse("2026-01-01", "2026-07-02")?;
/// let principal = Money { currency: Currency::USD, minor_units: 100_000 };
/// let breakdown = interest::calculate(principal, &terms, half_year.into())?;
/// assert_eq!(breakdown.interest.to_string(), "$30.37");
/// assert_eq!(breakdown.exact_interest, "30.367309144259454759");
/// assert_eq!((breakdown.days, breakdown.year_fraction.as_str()), (182, "182/365"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Overflow`] if the interest does not fit in 64 bits of minor units.
pub fn calculate(principal: Money, terms: &Terms, period: Period) -> Result<Breakdown, Overflow> {
    let sub_periods = SubPeriods::of(terms.compounding, terms.day_count, period);
    let growth = sub_periods.growth(terms.annual_rate.to_fraction());
    // In minor units.
    let gain = (growth.numer() - growth.denom()) * principal.minor_units;
    let exact_interest = BigRational::new_raw(gain, growth.denom().clone());
    let interest = terms.rounding_mode.round(&exact_interest).to_i64().ok_or(Overflow)?;
    Ok(Breakdown {
        terms: *terms,
        period,
        principal,
        days: period.days(),
        year_fraction: terms.day_count.year_fraction(period).to_string(),
        compounding_periods: sub_periods.count(),
        growth_factor: to_decimal(&growth, 0),
        exact_interest: to_decimal(&exact_interest, principal.currency.exponent()),
        interest: principal.with_minor_units(interest),
    })
}

/// Writes a fraction, divided by `10^exponent`, with 18 decimals, truncated. No currency has an exponent
/// above 4.
fn to_decimal(fraction: &BigRational, exponent: u32) -> String {
    let units = fraction.numer() * BigInt::from(10).pow(DECIMALS - exponent) / fraction.denom();
    let sign = if units.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    let digits = format!("{:0>width$}", units.magnitude().to_string(), width = DECIMALS as usize + 1);
    let (whole, decimals) = digits.split_at(digits.len() - DECIMALS as usize);
    format!("{sign}{whole}.{decimals}")
}

#[cfg(test)]
mod tests;
