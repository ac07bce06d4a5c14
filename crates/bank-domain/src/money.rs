//! Money: whole minor units of a currency, with checked arithmetic only.

mod currency;
mod decimal;
mod sum;

use std::{fmt, ops::AddAssign};

pub use currency::{Currency, InvalidCurrency, WithdrawnCurrency};
pub(crate) use decimal::split_decimal;
pub use sum::MoneySum;

use serde::{Deserialize, Serialize};

/// An exact amount of money, of either sign.
///
/// It prints with its currency; [`Money::parse_decimal`] reads decimals:
///
/// ```
/// use bank_domain::{Currency, Money};
///
/// let money = Money::parse_decimal("1000.00", Currency::USD)?;
/// assert_eq!(money, Money { currency: Currency::USD, minor_units: 100_000 });
/// assert_eq!(money.to_string(), "$1000.00");
/// assert_eq!(money.to_decimal(), "1000.00");
/// assert!(Money::parse_decimal("1000.005", Currency::USD).is_err());
/// # Ok::<(), bank_domain::InvalidMoney>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// The currency of the amount.
    pub currency: Currency,
    /// Whole minor units: cents for USD.
    pub minor_units: i64,
}

/// The result does not fit in 64 bits of minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount is out of range: minor units are 64-bit integers")]
pub struct Overflow;

/// The text is not an amount of the currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not digits with an optional minus sign and an optional point.
    #[error("{text:?} is not an amount; write it like {example}")]
    Malformed {
        /// The text, cut to 32 characters.
        text: String,
        /// A well-formed amount of the currency.
        example: String,
    },
    /// More decimals than the currency has.
    #[error("{text} has {decimals} decimals; {currency} has {}", .currency.exponent())]
    TooManyDecimals {
        /// The text.
        text: String,
        /// The number of decimals given.
        decimals: usize,
        /// The currency of the amount.
        currency: Currency,
    },
    /// Out of the 64-bit range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Money {
    /// Zero, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, minor_units: 0 }
    }

    /// Other minor units in the same currency.
    #[must_use]
    pub const fn with_minor_units(self, minor_units: i64) -> Self {
        Self { currency: self.currency, minor_units }
    }

    /// The sum of two amounts, which must have the same currency.
    ///
    /// # Errors
    /// [`Overflow`] if the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        debug_assert_eq!(self.currency, other.currency);
        self.minor_units
            .checked_add(other.minor_units)
            .map(|minor_units| self.with_minor_units(minor_units))
            .ok_or(Overflow)
    }

    /// The negated amount.
    ///
    /// # Errors
    /// [`Overflow`] for the lowest 64-bit integer.
    pub fn checked_neg(self) -> Result<Self, Overflow> {
        self.minor_units.checked_neg().map(|minor_units| self.with_minor_units(minor_units)).ok_or(Overflow)
    }

    /// The amount in major units, with all decimals of the currency and no currency symbol: `1000.00`.
    pub fn to_decimal(self) -> String {
        MoneySum::from(self).to_decimal()
    }

    /// Reads an amount in major units: `1000.00`, `1000.5`, `1000`, `-3`.
    ///
    /// # Errors
    /// [`InvalidMoney`] for malformed text, for more decimals than the currency has (nothing is
    /// rounded), and for amounts beyond 64 bits.
    pub fn parse_decimal(text: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let malformed = || InvalidMoney::Malformed {
            text: text.chars().take(32).collect(),
            example: Self { currency, minor_units: 100_000 }.to_decimal(),
        };
        let (sign, whole, fraction) = split_decimal(text).ok_or_else(malformed)?;
        let exponent = currency.exponent() as usize;
        if fraction.len() > exponent {
            return Err(InvalidMoney::TooManyDecimals {
                text: text.to_owned(),
                decimals: fraction.len(),
                currency,
            });
        }
        format!("{sign}{whole}{fraction:0<exponent$}")
            .parse()
            .map(|minor_units| Self { currency, minor_units })
            .map_err(|_| InvalidMoney::Overflow(Overflow))
    }
}

impl fmt::Display for Money {
    /// `$1000.00`, `-€5.00`, `¥500`, `1000.00 CHF`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MoneySum::from(*self).fmt(f)
    }
}

impl From<Money> for MoneySum {
    fn from(money: Money) -> Self {
        Self { currency: money.currency, minor_units: money.minor_units.into() }
    }
}

impl AddAssign<Money> for MoneySum {
    /// Adds an amount, which must have the same currency.
    fn add_assign(&mut self, money: Money) {
        *self += Self::from(money);
    }
}

/// An amount in a request: at least `MIN` minor units, in a named currency or in that of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedAmount<const MIN: i64> {
    currency: Option<Currency>,
    minor_units: i64,
}

/// An amount to move: more than zero.
pub type Amount = RequestedAmount<1>;

/// How far below zero the balance of an account may go: zero or more.
pub type OverdraftLimit = RequestedAmount<0>;

/// The amount is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// An amount to move must be more than zero.
    #[error("must be more than zero, is {minor_units} minor units")]
    NotPositive {
        /// The amount given.
        minor_units: i64,
    },
    /// A limit must be zero or more.
    #[error("must be zero or more, is {minor_units} minor units")]
    Negative {
        /// The amount given.
        minor_units: i64,
    },
    /// The amount is above the configured maximum.
    #[error("must be at most {max} minor units, is {minor_units}")]
    TooLarge {
        /// The amount given.
        minor_units: i64,
        /// The largest allowed amount.
        max: i64,
    },
}

impl<const MIN: i64> RequestedAmount<MIN> {
    /// An amount; no currency means that of the account.
    ///
    /// # Errors
    /// [`InvalidAmount::NotPositive`] or [`InvalidAmount::Negative`] for less than `MIN`.
    pub fn try_new(currency: Option<Currency>, minor_units: i64) -> Result<Self, InvalidAmount> {
        match minor_units {
            _ if minor_units >= MIN => Ok(Self { currency, minor_units }),
            _ if MIN > 0 => Err(InvalidAmount::NotPositive { minor_units }),
            _ => Err(InvalidAmount::Negative { minor_units }),
        }
    }

    /// The same amount, if it is at most `max` minor units.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub fn at_most(self, max: i64) -> Result<Self, InvalidAmount> {
        let minor_units = self.minor_units;
        if minor_units > max { Err(InvalidAmount::TooLarge { minor_units, max }) } else { Ok(self) }
    }

    /// The currency that the request named.
    pub fn currency(self) -> Option<Currency> {
        self.currency
    }

    /// At least `MIN`.
    pub fn minor_units(self) -> i64 {
        self.minor_units
    }
}

#[cfg(test)]
mod tests;
