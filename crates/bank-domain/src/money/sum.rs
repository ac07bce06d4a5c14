//! Sums of many amounts.

use std::{fmt, ops::AddAssign};

use super::currency::Currency;

/// A sum of amounts of one currency, of either sign. It has 128 bits, so even 2^64 amounts cannot
/// overflow it.
///
/// ```
/// use bank_domain::{Currency, Money, MoneySum};
///
/// let much = Money { currency: Currency::USD, minor_units: i64::MAX };
/// let mut sum = MoneySum::zero(Currency::USD);
/// sum += much;
/// sum += much;
/// assert_eq!(sum.to_string(), "$184467440737095516.14");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoneySum {
    /// The currency of the amounts.
    pub currency: Currency,
    /// Whole minor units: cents for USD.
    pub minor_units: i128,
}

impl MoneySum {
    /// Zero, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, minor_units: 0 }
    }

    /// The sum in major units, with all decimals of the currency and no currency symbol: `1000.00`.
    pub fn to_decimal(self) -> String {
        let sign = if self.minor_units < 0 { "-" } else { "" };
        format!("{sign}{}", Digits(self))
    }
}

impl AddAssign for MoneySum {
    /// Adds a sum, which must have the same currency.
    fn add_assign(&mut self, other: Self) {
        debug_assert_eq!(self.currency, other.currency);
        self.minor_units += other.minor_units;
    }
}

impl fmt::Display for MoneySum {
    /// `$1000.00`, `-€5.00`, `¥500`, `1000.00 CHF`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minor_units < 0 {
            f.write_str("-")?;
        }
        match self.currency.sign() {
            Some(sign) => write!(f, "{sign}{}", Digits(*self)),
            None => write!(f, "{} {}", Digits(*self), self.currency),
        }
    }
}

/// The absolute value of a sum in major units.
struct Digits(MoneySum);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.minor_units.unsigned_abs();
        let per_major = u128::from(self.0.currency.minor_units_per_major());
        let exponent = self.0.currency.exponent() as usize;
        write!(f, "{}", magnitude / per_major)?;
        if exponent > 0 {
            write!(f, ".{:0exponent$}", magnitude % per_major)?;
        }
        Ok(())
    }
}
