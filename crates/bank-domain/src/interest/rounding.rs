//! Rounding: how an exact value becomes a whole number, once.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};
use serde::{Deserialize, Serialize};

use super::names::names;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoundingMode {
    /// To the nearest; a tie goes to the even neighbour.
    #[default]
    HalfEven,
    /// To the nearest; a tie goes away from zero.
    HalfUp,
    /// To the nearest; a tie goes toward zero.
    HalfDown,
    /// Toward zero.
    Down,
    /// Away from zero.
    Up,
    /// Toward negative infinity.
    Floor,
    /// Toward positive infinity.
    Ceiling,
}

names!(RoundingMode, "rounding mode",
    HalfEven => "half_even",
    HalfUp => "half_up",
    HalfDown => "half_down",
    Down => "down",
    Up => "up",
    Floor => "floor",
    Ceiling => "ceiling",
);

/// An exact value, known by the whole number just below it, and whether it is that number.
///
/// That is all any rounding to coarser steps needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The largest whole number that is not above the value.
    pub(super) floor: BigInt,
    /// Whether the value is that number.
    pub(super) exact: bool,
}

impl Cut {
    /// The value less a whole number.
    pub(super) fn minus(self, whole: i128) -> Self {
        Self { floor: self.floor - whole, ..self }
    }

    /// The value without its fraction.
    pub(super) fn toward_zero(&self) -> BigInt {
        if self.exact || !self.floor.is_negative() { self.floor.clone() } else { &self.floor + 1 }
    }

    /// The value in steps of an even number, rounded to a whole number of them.
    pub(super) fn round_to_steps(&self, step: i128, mode: RoundingMode) -> BigInt {
        debug_assert!(step > 0 && step % 2 == 0, "half a step is a whole number");
        let step = BigInt::from(step);
        let (below, rest) = self.floor.div_mod_floor(&step);
        if self.exact && rest.is_zero() {
            return below;
        }
        let against_half = match (rest * 2_u8).cmp(&step) {
            Ordering::Equal if !self.exact => Ordering::Greater,
            ordering => ordering,
        };
        let negative = below.is_negative();
        let nearest = |tie_goes_up: bool| against_half.is_gt() || (against_half.is_eq() && tie_goes_up);
        let goes_up = match mode {
            RoundingMode::HalfEven => nearest(below.is_odd()),
            RoundingMode::HalfUp => nearest(!negative),
            RoundingMode::HalfDown => nearest(negative),
            RoundingMode::Down => negative,
            RoundingMode::Up => !negative,
            RoundingMode::Floor => false,
            RoundingMode::Ceiling => true,
        };
        below + u8::from(goes_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the documentation, and what lies by a hair beside a tie or a whole number.
    #[test]
    fn every_mode_rounds_as_documented() {
        use RoundingMode::{Ceiling, Down, Floor, HalfDown, HalfEven, HalfUp, Up};
        let modes = [HalfEven, HalfUp, HalfDown, Down, Up, Floor, Ceiling];
        let check = |tenths: i32, exact: bool, expected: [i32; 7]| {
            let cut = Cut { floor: tenths.into(), exact };
            for (mode, expected) in modes.into_iter().zip(expected) {
                assert_eq!(cut.round_to_steps(10, mode), expected.into(), "{tenths} {exact} {mode}");
            }
        };
        for (tenths, expected) in [
            (0, [0, 0, 0, 0, 0, 0, 0]),
            (20, [2, 2, 2, 2, 2, 2, 2]),
            (21, [2, 2, 2, 2, 3, 2, 3]),
            (25, [2, 3, 2, 2, 3, 2, 3]),
            (29, [3, 3, 3, 2, 3, 2, 3]),
            (35, [4, 4, 3, 3, 4, 3, 4]),
            (5, [0, 1, 0, 0, 1, 0, 1]),
            (-5, [0, -1, 0, 0, -1, -1, 0]),
            (-1, [0, 0, 0, 0, -1, -1, 0]),
            (-20, [-2, -2, -2, -2, -2, -2, -2]),
            (-21, [-2, -2, -2, -2, -3, -3, -2]),
            (-25, [-2, -3, -2, -2, -3, -3, -2]),
            (-29, [-3, -3, -3, -2, -3, -3, -2]),
            (-35, [-4, -4, -3, -3, -4, -4, -3]),
        ] {
            check(tenths, true, expected);
        }
        for (tenths_below, expected) in [
            (0, [0, 0, 0, 0, 1, 0, 1]),
            (20, [2, 2, 2, 2, 3, 2, 3]),
            (24, [2, 2, 2, 2, 3, 2, 3]),
            (25, [3, 3, 3, 2, 3, 2, 3]),
            (29, [3, 3, 3, 2, 3, 2, 3]),
            (-1, [0, 0, 0, 0, -1, -1, 0]),
            (-25, [-2, -2, -2, -2, -3, -3, -2]),
            (-26, [-3, -3, -3, -2, -3, -3, -2]),
            (-30, [-3, -3, -3, -2, -3, -3, -2]),
        ] {
            check(tenths_below, false, expected);
        }
    }

    #[test]
    fn cutting_goes_toward_zero() {
        for (floor, exact, expected) in
            [(3, true, 3), (3, false, 3), (0, false, 0), (-1, false, 0), (-3, true, -3), (-3, false, -2)]
        {
            assert_eq!(Cut { floor: floor.into(), exact }.toward_zero(), expected.into(), "{floor} {exact}");
        }
    }

    #[test]
    fn names_are_stable() {
        let names: Vec<_> = RoundingMode::ALL.iter().map(|mode| mode.as_str()).collect();
        assert_eq!(names, ["half_even", "half_up", "half_down", "down", "up", "floor", "ceiling"]);
        for mode in RoundingMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(*mode));
        }
    }
}
