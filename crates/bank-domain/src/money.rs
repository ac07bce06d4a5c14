//! Money: whole minor units of a currency, with checked arithmetic only.

mod listed;
mod sum;

use std::{fmt, str::FromStr};

pub use listed::WithdrawnCurrency;
pub use sum::MoneySum;

use serde::{Deserialize, Serialize};

/// A currency of ISO 4217 that has minor units, or is used without them (JPY).
///
/// Codes that are not money in circulation and have no exponent (XAU, XDR, XXX) are not accepted. Codes that were
/// withdrawn are, since accounts may be held in them; [`Currency::require_active`] tells them apart.
///
/// ```
/// use bank_domain::Currency;
///
/// let dinar: Currency = "KWD".parse()?;
/// assert_eq!(dinar.exponent(), 3);
/// assert!("usd".parse::<Currency>().is_err());
/// assert!("XAU".parse::<Currency>().is_err());
/// # Ok::<(), bank_domain::InvalidCurrency>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

/// The text is not the code of a currency that accounts can be held in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?} is not a currency; use an ISO 4217 code in upper case, such as USD")]
pub struct InvalidCurrency {
    /// What was given.
    pub code: String,
}

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// The three letters of ISO 4217.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimal digits the minor unit is below the major one: USD 2, JPY 0, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// How many minor units make one major unit: USD 100, JPY 1, KWD 1000.
    pub fn minor_units_per_major(self) -> u64 {
        10_u64.pow(self.exponent())
    }

    /// The sign that people write before an amount, where it names one currency and no other.
    fn sign(self) -> Option<&'static str> {
        match self.code() {
            "USD" => Some("$"),
            "EUR" => Some("€"),
            "GBP" => Some("£"),
            "JPY" => Some("¥"),
            "INR" => Some("₹"),
            _ => None,
        }
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(code: &str) -> Result<Self, InvalidCurrency> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| InvalidCurrency { code: code.chars().take(16).collect() })
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidCurrency;

    fn try_from(code: String) -> Result<Self, InvalidCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An exact amount of money, of either sign.
///
/// It prints as people write it, and [`Money::parse_decimal`] reads it back:
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
    /// What it is an amount of.
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
    /// It is not digits, optionally with a sign before and a point between them.
    #[error("{text:?} is not an amount; write it like {example}")]
    Malformed {
        /// What was given, cut to a readable length.
        text: String,
        /// An amount of the currency, well written.
        example: String,
    },
    /// It has more decimals than the currency.
    #[error("{text} has {decimals} decimals; {currency} has {}", .currency.exponent())]
    TooManyDecimals {
        /// What was given.
        text: String,
        /// How many decimals it has.
        decimals: usize,
        /// The currency it was to be an amount of.
        currency: Currency,
    },
    /// It is too large.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Money {
    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, minor_units: 0 }
    }

    /// The same currency with other minor units.
    #[must_use]
    pub const fn with_minor_units(self, minor_units: i64) -> Self {
        Self { currency: self.currency, minor_units }
    }

    /// The sum of two amounts, which the caller knows to be of one currency.
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

    /// The amount with its sign turned.
    ///
    /// # Errors
    /// [`Overflow`] for the lowest 64-bit integer, which has no counterpart.
    pub fn checked_neg(self) -> Result<Self, Overflow> {
        self.minor_units.checked_neg().map(|minor_units| self.with_minor_units(minor_units)).ok_or(Overflow)
    }

    /// The amount in major units with every decimal of the currency and no sign of it: `1000.00`.
    pub fn to_decimal(self) -> String {
        MoneySum::from(self).to_decimal()
    }

    /// Reads an amount in major units: `1000.00`, `1000.5`, `1000`, `-3`.
    ///
    /// # Errors
    /// [`InvalidMoney`] for anything but digits with an optional sign and point, for more decimals
    /// than the currency has (nothing is rounded), and for what does not fit.
    pub fn parse_decimal(text: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let malformed = || InvalidMoney::Malformed {
            text: text.chars().take(32).collect(),
            example: Self { currency, minor_units: 100_000 }.to_decimal(),
        };
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
        let exponent = currency.exponent() as usize;
        if fraction.len() > exponent {
            return Err(InvalidMoney::TooManyDecimals {
                text: text.to_owned(),
                decimals: fraction.len(),
                currency,
            });
        }
        let sign = if negative { "-" } else { "" };
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

/// An amount as a request gives it: more than zero, in a named currency or in that of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    currency: Option<Currency>,
    minor_units: i64,
}

/// The amount is not one that can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Movements are of more than zero.
    #[error("must be more than zero, is {minor_units} minor units")]
    NotPositive {
        /// What was given.
        minor_units: i64,
    },
    /// Limits are zero or more.
    #[error("must be zero or more, is {minor_units} minor units")]
    Negative {
        /// What was given.
        minor_units: i64,
    },
    /// The bank takes no more at once.
    #[error("must be at most {max} minor units, is {minor_units}")]
    TooLarge {
        /// What was given.
        minor_units: i64,
        /// What is allowed.
        max: i64,
    },
}

impl Amount {
    /// An amount to move; no currency means the account's own.
    ///
    /// # Errors
    /// [`InvalidAmount::NotPositive`] for zero and less.
    pub fn try_new(currency: Option<Currency>, minor_units: i64) -> Result<Self, InvalidAmount> {
        if minor_units <= 0 {
            return Err(InvalidAmount::NotPositive { minor_units });
        }
        Ok(Self { currency, minor_units })
    }

    /// The same amount, if it is within a bound.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`] for more.
    pub fn at_most(self, max: i64) -> Result<Self, InvalidAmount> {
        require_at_most(self.minor_units, max).map(|()| self)
    }

    /// The currency, if the request named one.
    pub fn currency(self) -> Option<Currency> {
        self.currency
    }

    /// Minor units, more than zero.
    pub fn minor_units(self) -> i64 {
        self.minor_units
    }
}

/// How far below zero a request wants to let an account go: zero or more, in a named currency or in
/// that of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverdraftLimit {
    currency: Option<Currency>,
    minor_units: i64,
}

impl OverdraftLimit {
    /// A limit; no currency means the account's own.
    ///
    /// # Errors
    /// [`InvalidAmount::Negative`] for less than zero.
    pub fn try_new(currency: Option<Currency>, minor_units: i64) -> Result<Self, InvalidAmount> {
        if minor_units < 0 {
            return Err(InvalidAmount::Negative { minor_units });
        }
        Ok(Self { currency, minor_units })
    }

    /// The same limit, if it is within a bound.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`] for more.
    pub fn at_most(self, max: i64) -> Result<Self, InvalidAmount> {
        require_at_most(self.minor_units, max).map(|()| self)
    }

    /// The currency, if the request named one.
    pub fn currency(self) -> Option<Currency> {
        self.currency
    }

    /// Minor units, zero or more.
    pub fn minor_units(self) -> i64 {
        self.minor_units
    }
}

fn require_at_most(minor_units: i64, max: i64) -> Result<(), InvalidAmount> {
    if minor_units > max { Err(InvalidAmount::TooLarge { minor_units, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn money_prints_and_parses_exactly() {
        for (code, minor_units, shown, decimal) in [
            ("USD", 100_000, "$1000.00", "1000.00"),
            ("USD", 0, "$0.00", "0.00"),
            ("USD", -5, "-$0.05", "-0.05"),
            ("USD", i64::MAX, "$92233720368547758.07", "92233720368547758.07"),
            ("USD", i64::MIN, "-$92233720368547758.08", "-92233720368547758.08"),
            ("EUR", 1, "€0.01", "0.01"),
            ("JPY", 500, "¥500", "500"),
            ("KWD", 1_234, "1.234 KWD", "1.234"),
            ("CHF", -1_000, "-10.00 CHF", "-10.00"),
        ] {
            let money = Money { currency: currency(code), minor_units };
            assert_eq!(money.to_string(), shown);
            assert_eq!(money.to_decimal(), decimal);
            assert_eq!(Money::parse_decimal(decimal, currency(code)), Ok(money));
        }
    }

    #[test]
    fn short_amounts_are_filled_up() {
        for (text, minor_units) in [("1000", 100_000), ("1000.5", 100_050), ("-3", -300), ("007.10", 710)] {
            assert_eq!(Money::parse_decimal(text, Currency::USD).unwrap().minor_units, minor_units, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_an_error_that_says_so() {
        for (text, message) in [
            ("", "\"\" is not an amount; write it like 1000.00"),
            ("-", "\"-\" is not an amount; write it like 1000.00"),
            (".5", "\".5\" is not an amount; write it like 1000.00"),
            ("5.", "\"5.\" is not an amount; write it like 1000.00"),
            ("+5", "\"+5\" is not an amount; write it like 1000.00"),
            ("1,000.00", "\"1,000.00\" is not an amount; write it like 1000.00"),
            ("1e3", "\"1e3\" is not an amount; write it like 1000.00"),
            ("--1", "\"--1\" is not an amount; write it like 1000.00"),
            ("１", "\"１\" is not an amount; write it like 1000.00"),
            ("1000.005", "1000.005 has 3 decimals; USD has 2"),
            ("92233720368547758.08", "the amount is out of range: minor units are 64-bit integers"),
        ] {
            let error = Money::parse_decimal(text, Currency::USD).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn exponents_are_those_of_iso_4217() {
        for (code, exponent) in
            [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4), ("UYW", 4)]
        {
            assert_eq!(currency(code).exponent(), exponent, "{code}");
        }
        for code in ["", "US", "usd", "USDX", "XAU", "XDR", "XXX", "ÜSD", "\0\0\0"] {
            assert!(code.parse::<Currency>().is_err(), "{code:?}");
        }
    }

    #[test]
    fn arithmetic_at_the_ends_gives_errors() {
        let max = Money { currency: Currency::USD, minor_units: i64::MAX };
        let min = Money { currency: Currency::USD, minor_units: i64::MIN };
        let one = Money { currency: Currency::USD, minor_units: 1 };
        assert_eq!(max.checked_add(one), Err(Overflow));
        assert_eq!(min.checked_add(one.checked_neg().unwrap()), Err(Overflow));
        assert_eq!(min.checked_neg(), Err(Overflow));
        assert_eq!(max.checked_neg().unwrap().minor_units, -i64::MAX);
        assert_eq!(max.checked_add(min).unwrap().minor_units, -1);
    }

    #[test]
    fn requests_move_more_than_nothing() {
        assert_eq!(Amount::try_new(None, 0), Err(InvalidAmount::NotPositive { minor_units: 0 }));
        assert_eq!(
            Amount::try_new(None, i64::MIN),
            Err(InvalidAmount::NotPositive { minor_units: i64::MIN })
        );
        let largest = Amount::try_new(None, i64::MAX).unwrap();
        assert_eq!(largest.at_most(i64::MAX), Ok(largest));
        let too_large = InvalidAmount::TooLarge { minor_units: i64::MAX, max: 9 };
        assert_eq!(largest.at_most(9), Err(too_large));
        assert_eq!(OverdraftLimit::try_new(None, i64::MAX).unwrap().at_most(9), Err(too_large));
        assert!(OverdraftLimit::try_new(None, 9).unwrap().at_most(9).is_ok());
        assert!(OverdraftLimit::try_new(None, 0).is_ok());
        assert_eq!(OverdraftLimit::try_new(None, -1), Err(InvalidAmount::Negative { minor_units: -1 }));
    }
}
