//! Rounding of exact values to whole numbers.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, Zero};

use crate::names::named;

named! {
    /// How the exact interest becomes whole minor units.
    ///
    /// | mode | 2.1 | 2.5 | 2.9 | 3.5 | −2.1 | −2.5 | −2.9 | −3.5 |
    /// |---|---|---|---|---|---|---|---|---|
    /// | half even | 2 | 2 | 3 | 4 | −2 | −2 | −3 | −4 |
    /// | half up | 2 | 3 | 3 | 4 | −2 | −3 | −3 | −4 |
    /// | half down | 2 | 2 | 3 | 3 | −2 | −2 | −3 | −3 |
    /// | down | 2 | 2 | 2 | 3 | −2 | −2 | −2 | −3 |
    /// | up | 3 | 3 | 3 | 4 | −3 | −3 | −3 | −4 |
    /// | floor | 2 | 2 | 2 | 3 | −3 | −3 | −3 | −4 |
    /// | ceiling | 3 | 3 | 3 | 4 | −2 | −2 | −2 | −3 |
    #[derive(Default)]
    pub enum RoundingMode, "rounding mode" {
        /// To the nearest; a tie goes to the even neighbour.
        #[default]
        HalfEven = "half_even",
        /// To the nearest; a tie goes away from zero.
        HalfUp = "half_up",
        /// To the nearest; a tie goes toward zero.
        HalfDown = "half_down",
        /// Toward zero.
        Down = "down",
        /// Away from zero.
        Up = "up",
        /// Toward negative infinity.
        Floor = "floor",
        /// Toward positive infinity.
        Ceiling = "ceiling",
    }
}

impl RoundingMode {
    /// The whole number that the mode rounds an exact value to. The fraction need not be reduced.
    pub(super) fn round(self, exact: &BigRational) -> BigInt {
        let (below, rest) = exact.numer().div_mod_floor(exact.denom());
        if rest.is_zero() {
            return below;
        }
        let against_half = (rest * 2_u8).cmp(exact.denom());
        let negative = below.is_negative();
        let nearest = |tie_goes_up: bool| against_half.is_gt() || (against_half.is_eq() && tie_goes_up);
        let goes_up = match self {
            Self::HalfEven => nearest(below.is_odd()),
            Self::HalfUp => nearest(!negative),
            Self::HalfDown => nearest(negative),
            Self::Down => negative,
            Self::Up => !negative,
            Self::Floor => false,
            Self::Ceiling => true,
        };
        below + u8::from(goes_up)
    }
}

#[cfg(test)]
mod tests;
