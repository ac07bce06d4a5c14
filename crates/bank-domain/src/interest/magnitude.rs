//! Positive numbers held to a precision, each known to lie on one side of the exact value.
//!
//! A [`Magnitude`] is `mantissa · 2^exponent`, as a float is, but with a mantissa of any size and an
//! exponent that cannot run out. [`Bounding`] does arithmetic with every single step rounded the same
//! way. As no number is negative and every operation is monotonic, a result whose steps were all
//! rounded down is not above the exact one, and a result whose steps were all rounded up not below.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, Zero};

/// `mantissa · 2^exponent`.
#[derive(Clone, Debug)]
pub(super) struct Magnitude {
    mantissa: BigUint,
    exponent: i64,
}

/// The side of the exact value that results lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Not above it.
    Lower,
    /// Not below it.
    Upper,
}

/// Arithmetic that keeps to one side of the exact value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounding {
    pub(super) bound: Bound,
    /// How many bits a mantissa keeps: each step errs by at most 2^(1 − bits) of its result.
    pub(super) bits: u64,
}

impl Bounding {
    /// A fraction.
    pub(super) fn quotient(self, numerator: u128, denominator: u128) -> Magnitude {
        // With this shift the quotient has at least as many bits as are kept.
        let shift = self.bits + u64::from(u128::BITS);
        let (mut mantissa, rest) = (BigUint::from(numerator) << shift).div_rem(&BigUint::from(denominator));
        if self.bound == Bound::Upper && !rest.is_zero() {
            mantissa += 1_u8;
        }
        self.shorten(Magnitude { mantissa, exponent: -shift.cast_signed() })
    }

    pub(super) fn product(self, left: &Magnitude, right: &Magnitude) -> Magnitude {
        self.shorten(Magnitude {
            mantissa: &left.mantissa * &right.mantissa,
            exponent: left.exponent + right.exponent,
        })
    }

    /// By repeated squaring: two products for each bit of the exponent.
    pub(super) fn power(self, base: &Magnitude, exponent: u32) -> Magnitude {
        let mut power = Magnitude::one();
        for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
            power = self.product(&power, &power);
            if exponent >> bit & 1 == 1 {
                power = self.product(&power, base);
            }
        }
        power
    }

    fn shorten(self, long: Magnitude) -> Magnitude {
        let excess = long.mantissa.bits().saturating_sub(self.bits);
        if excess == 0 {
            return long;
        }
        let mut mantissa = long.mantissa >> excess;
        if self.bound == Bound::Upper {
            mantissa += 1_u8;
        }
        Magnitude { mantissa, exponent: long.exponent + excess.cast_signed() }
    }
}

impl Magnitude {
    pub(super) fn one() -> Self {
        Self { mantissa: BigUint::one(), exponent: 0 }
    }

    /// The largest whole number not above the product of this and a factor.
    pub(super) fn floor_of_product(&self, factor: &BigInt) -> BigInt {
        let product = factor * BigInt::from(self.mantissa.clone());
        // Shifting right rounds toward negative infinity.
        if self.exponent < 0 { product >> self.exponent.unsigned_abs() } else { product << self.exponent }
    }

    /// The smallest whole number not below the product of this and a factor.
    pub(super) fn ceiling_of_product(&self, factor: &BigInt) -> BigInt {
        -self.floor_of_product(&-factor)
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use num_traits::Pow;

    use super::*;

    fn value(magnitude: &Magnitude) -> BigRational {
        let two = BigRational::from_integer(2.into());
        BigRational::from_integer(magnitude.mantissa.clone().into())
            * two.pow(i32::try_from(magnitude.exponent).unwrap())
    }

    /// Few bits, so that every step errs.
    #[test]
    fn bounds_enclose_the_exact_value_and_are_close_to_it() {
        for (numerator, denominator, count) in [
            (75, 73, 1),
            (75, 73, 100),
            (1, 3, 63),
            (3, 1, 40),
            (u128::MAX, 1, 5),
            (1, u128::MAX, 5),
            (9, 8, 0),
        ] {
            let exact = BigRational::new(numerator.into(), denominator.into()).pow(count);
            let [lower, upper] = [Bound::Lower, Bound::Upper].map(|bound| {
                let bounding = Bounding { bound, bits: 24 };
                let power = bounding.power(&bounding.quotient(numerator, denominator), count);
                assert!(power.mantissa.bits() <= 25);
                value(&power)
            });
            let name = format!("({numerator}/{denominator})^{count}");
            assert!(lower <= exact && exact <= upper, "{name}");
            let error = (upper - lower) / exact;
            assert!(error < BigRational::new(1.into(), (1 << 12).into()), "{name} errs by {error}");
        }
    }

    #[test]
    fn products_are_cut_to_whole_numbers() {
        let half = Magnitude { mantissa: 1_u8.into(), exponent: -1 };
        let eight = Magnitude { mantissa: 1_u8.into(), exponent: 3 };
        for (magnitude, factor, floor, ceiling) in [
            (&half, 5, 2, 3),
            (&half, -5, -3, -2),
            (&half, 4, 2, 2),
            (&eight, 5, 40, 40),
            (&eight, -5, -40, -40),
        ] {
            assert_eq!(magnitude.floor_of_product(&factor.into()), floor.into());
            assert_eq!(magnitude.ceiling_of_product(&factor.into()), ceiling.into());
        }
    }
}
