use num_rational::BigRational;

use super::RoundingMode::{self, Ceiling, Down, Floor, HalfDown, HalfEven, HalfUp, Up};

/// The table of the documentation, and values just beside a tie or a whole number.
#[test]
fn every_mode_rounds_as_documented() {
    let modes = [HalfEven, HalfUp, HalfDown, Down, Up, Floor, Ceiling];
    for (hundredths, expected) in [
        (0, [0, 0, 0, 0, 0, 0, 0]),
        (200, [2, 2, 2, 2, 2, 2, 2]),
        (210, [2, 2, 2, 2, 3, 2, 3]),
        (250, [2, 3, 2, 2, 3, 2, 3]),
        (290, [3, 3, 3, 2, 3, 2, 3]),
        (350, [4, 4, 3, 3, 4, 3, 4]),
        (50, [0, 1, 0, 0, 1, 0, 1]),
        (-50, [0, -1, 0, 0, -1, -1, 0]),
        (-10, [0, 0, 0, 0, -1, -1, 0]),
        (-200, [-2, -2, -2, -2, -2, -2, -2]),
        (-210, [-2, -2, -2, -2, -3, -3, -2]),
        (-250, [-2, -3, -2, -2, -3, -3, -2]),
        (-290, [-3, -3, -3, -2, -3, -3, -2]),
        (-350, [-4, -4, -3, -3, -4, -4, -3]),
        (1, [0, 0, 0, 0, 1, 0, 1]),
        (201, [2, 2, 2, 2, 3, 2, 3]),
        (249, [2, 2, 2, 2, 3, 2, 3]),
        (251, [3, 3, 3, 2, 3, 2, 3]),
        (299, [3, 3, 3, 2, 3, 2, 3]),
        (-1, [0, 0, 0, 0, -1, -1, 0]),
        (-249, [-2, -2, -2, -2, -3, -3, -2]),
        (-251, [-3, -3, -3, -2, -3, -3, -2]),
        (-299, [-3, -3, -3, -2, -3, -3, -2]),
    ] {
        let exact = BigRational::new_raw(hundredths.into(), 100.into());
        for (mode, expected) in modes.into_iter().zip(expected) {
            assert_eq!(mode.round(&exact), expected.into(), "{hundredths}/100 {mode}");
        }
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
