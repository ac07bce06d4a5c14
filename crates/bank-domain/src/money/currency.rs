//! Currencies, and which of them accounts can be opened in.
//!
//! The list of withdrawn currencies is kept here. `iso_currency` marks some that are in force as superseded (VES,
//! beside VED). A test compares every code of that library with the lists of ISO, so that an update of the library
//! cannot change the bank's currencies unnoticed.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// The codes of ISO 4217 list three (historic denominations) that have minor units here, with the month in which
/// they were withdrawn. As of list one of 2026-01-01, amendment 180.
const WITHDRAWN: [(&str, &str); 5] =
    [("BGN", "2026-01"), ("CUC", "2021-06"), ("HRK", "2023-01"), ("SLL", "2023-12"), ("ZWL", "2024-09")];

/// The currency is not in force any more, so no account can be opened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{currency} was withdrawn in {since}: accounts held in it can be used, but none can be opened")]
pub struct WithdrawnCurrency {
    /// The withdrawn currency.
    pub currency: Currency,
    /// The month of withdrawal: `2023-01`.
    pub since: &'static str,
}

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
    /// The text, cut to 16 characters.
    pub code: String,
}

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// The ISO 4217 code: `USD`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of decimals of an amount in major units: USD 2, JPY 0, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// How many minor units make one major unit: USD 100, JPY 1, KWD 1000.
    pub fn minor_units_per_major(self) -> u64 {
        10_u64.pow(self.exponent())
    }

    /// The symbol that precedes an amount, if it is unambiguous.
    pub(super) fn sign(self) -> Option<&'static str> {
        match self.code() {
            "USD" => Some("$"),
            "EUR" => Some("€"),
            "GBP" => Some("£"),
            "JPY" => Some("¥"),
            "INR" => Some("₹"),
            _ => None,
        }
    }

    /// Checks that the currency is in force.
    ///
    /// ```
    /// use bank_domain::Currency;
    ///
    /// let kuna: Currency = "HRK".parse()?;
    /// assert_eq!(kuna.require_active().unwrap_err().since, "2023-01");
    /// assert!(Currency::USD.require_active().is_ok());
    /// # Ok::<(), bank_domain::InvalidCurrency>(())
    /// ```
    ///
    /// # Errors
    /// [`WithdrawnCurrency`], if it is not.
    pub fn require_active(self) -> Result<(), WithdrawnCurrency> {
        match WITHDRAWN.iter().find(|(code, _)| *code == self.code()) {
            Some((_, since)) => Err(WithdrawnCurrency { currency: self, since }),
            None => Ok(()),
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

text_newtype!(Currency, InvalidCurrency, code);

#[cfg(test)]
mod tests;
