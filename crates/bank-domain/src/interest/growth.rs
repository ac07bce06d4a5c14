//! The growth factor of a period, and whole multiples of it cut to whole numbers.
//!
//! The factor is `G = f₁^n₁ · f₂^n₂ · …`, where each `f = 1 + r·τ` is a short fraction and `n` counts
//! the sub-periods of one length. What is asked of it is always the same: the whole number just below
//! `k·G` for some whole `k`, and whether `k·G` is that number.
//!
//! **Whether it is** is settled first, without knowing `G`. `k·G` is whole if and only if no prime
//! divides its denominator more often than its numerator. The denominators of rates and day counts
//! have few primes, and how often a prime divides `k·G` is a sum over the `f`, each counted `n` times.
//! This holds in every case: ties and other exact results need no special path.
//!
//! **Which number it is** follows from a lower and an upper bound of `G`. A whole `k·G` is the only
//! whole number between `k` times the bounds, once these are close. Otherwise both products have
//! one floor, once they are close. Bounds that are not yet close enough are taken again with twice as
//! many bits (Ziv's strategy, ACM TOMS 17(3), 1991). This ends: a `k·G` that is not whole has a
//! distance from the next whole number.
//!
//! How often it is repeated: the bounds are relative to `G`, so a tiny factor needs no more bits
//! than any other. A huge one needs as many more as `k·G` has before its point: at most 1,600, at 1000 %
//! for a century, which is three rounds more. Apart from that, a `k·G` that fits an `i64` of minor
//! units has an error below 2⁻¹⁰⁰ in the first round, and takes a second one only if it lies that close
//! to a whole number by chance; the price is then about three times that of one round.

use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::{Signed, Zero};

use super::{
    AnnualRate,
    compounding::SubPeriods,
    magnitude::{Bound, Bounding, Magnitude},
    rounding::Cut,
};

/// How many bits the bounds have at first: 63 for a principal, 60 for 18 decimals, about 20 for the
/// errors of a century of days, and a hundred so that once is enough.
const BITS_AT_FIRST: u64 = 256;

/// The primes that divide the denominator of a rate (a power of ten) or of a length of time (360,
/// 365 = 5·73, 366 = 2·3·61, 12, 4).
const DENOMINATOR_PRIMES: [i128; 5] = [2, 3, 5, 61, 73];

/// What one unit grows to, as a product of powers of fractions.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    factors: Vec<Factor>,
}

/// What one unit grows to in a sub-period, and how many sub-periods do so.
#[derive(Clone, Debug)]
struct Factor {
    value: Ratio<i128>,
    count: u32,
}

impl Growth {
    /// The growth at a rate.
    pub(super) fn new(rate: AnnualRate, sub_periods: &SubPeriods) -> Self {
        let rate = rate.to_fraction();
        // At most 10^13 · 10^8 over 10^12 · 133,590: far from the ends of 128 bits.
        let factor = |(length, count)| Factor { value: rate * length + 1, count };
        Self::of(sub_periods.lengths().map(factor).collect())
    }

    fn of(factors: Vec<Factor>) -> Self {
        debug_assert!(factors.iter().all(Factor::has_known_primes_below), "is_whole_times needs this");
        Self { factors }
    }

    /// The growth factor times a whole number.
    pub(super) fn times(&self, multiplier: i128) -> Cut {
        if multiplier == 0 || self.factors.iter().any(|factor| factor.value.is_zero()) {
            return Cut { floor: BigInt::zero(), exact: true };
        }
        let exact = self.is_whole_times(multiplier);
        let signed = BigInt::from(if self.is_negative() { -multiplier } else { multiplier });
        let mut bits = BITS_AT_FIRST;
        loop {
            let lower = self.magnitude(Bounding { bound: Bound::Lower, bits });
            let upper = self.magnitude(Bounding { bound: Bound::Upper, bits });
            if let Some(floor) = floor_between(&lower, &upper, &signed, exact) {
                return Cut { floor, exact };
            }
            bits *= 2;
        }
    }

    /// What an amount grows by: the growth factor less one, times a whole number.
    pub(super) fn gain_on(&self, amount: i128) -> Cut {
        self.times(amount).minus(amount)
    }

    fn is_negative(&self) -> bool {
        self.factors.iter().filter(|factor| factor.value.is_negative() && factor.count % 2 == 1).count() % 2
            == 1
    }

    /// Whether the product with a whole number is a whole number.
    fn is_whole_times(&self, multiplier: i128) -> bool {
        DENOMINATOR_PRIMES.into_iter().all(|prime| {
            let of_factors: i64 = self.factors.iter().map(|factor| factor.multiplicity(prime)).sum();
            multiplicity(multiplier, prime) + of_factors >= 0
        })
    }

    fn magnitude(&self, bounding: Bounding) -> Magnitude {
        self.factors.iter().fold(Magnitude::one(), |product, factor| {
            let base =
                bounding.quotient(factor.value.numer().unsigned_abs(), factor.value.denom().unsigned_abs());
            bounding.product(&product, &bounding.power(&base, factor.count))
        })
    }
}

impl Factor {
    /// How often a prime divides the numerator, less how often it divides the denominator.
    fn multiplicity(&self, prime: i128) -> i64 {
        (multiplicity(*self.value.numer(), prime) - multiplicity(*self.value.denom(), prime))
            * i64::from(self.count)
    }

    /// Whether no other prime divides the denominator.
    fn has_known_primes_below(&self) -> bool {
        let mut rest = *self.value.denom();
        for prime in DENOMINATOR_PRIMES {
            while rest % prime == 0 {
                rest /= prime;
            }
        }
        rest == 1
    }
}

/// How often a prime divides a number that is not zero.
fn multiplicity(mut number: i128, prime: i128) -> i64 {
    let mut times = 0;
    while number % prime == 0 {
        number /= prime;
        times += 1;
    }
    times
}

/// The floor of every number between a factor times the lower and the upper bound, if they share one;
/// given that the number looked for is whole, or that it is not.
fn floor_between(lower: &Magnitude, upper: &Magnitude, factor: &BigInt, whole: bool) -> Option<BigInt> {
    let (lower, upper) = if factor.is_negative() { (upper, lower) } else { (lower, upper) };
    let least = if whole { lower.ceiling_of_product(factor) } else { lower.floor_of_product(factor) };
    let greatest = upper.floor_of_product(factor);
    (least == greatest).then_some(greatest)
}

#[cfg(test)]
mod tests {
    use num_bigint::Sign;
    use num_integer::Integer;
    use num_traits::Pow;
    use proptest::prelude::*;

    use super::*;

    fn growth(factors: &[(i128, i128, u32)]) -> Growth {
        let factor =
            |&(numerator, denominator, count)| Factor { value: Ratio::new(numerator, denominator), count };
        Growth::of(factors.iter().map(factor).collect())
    }

    /// The plain way: all digits of the numerator over all digits of the denominator.
    fn exactly(growth: &Growth, multiplier: i128) -> Cut {
        let power = |number: &i128, count: u32| BigInt::from(*number).pow(count);
        let (numerator, denominator) = growth.factors.iter().fold(
            (BigInt::from(multiplier), BigInt::from(1)),
            |(numerator, denominator), Factor { value, count }| {
                (numerator * power(value.numer(), *count), denominator * power(value.denom(), *count))
            },
        );
        let (floor, rest) = numerator.div_mod_floor(&denominator);
        Cut { floor, exact: rest.sign() == Sign::NoSign }
    }

    #[test]
    fn named_cases_are_cut_as_the_plain_way_cuts_them() {
        const E18: i128 = 10_i128.pow(18);
        for factors in [
            &[][..],
            // 0 %, and all that is taken at once.
            &[(1, 1, 36_525)],
            &[(0, 1, 100)],
            &[(5, 4, 3), (0, 1, 1)],
            // Exact results: powers of two, decimals, and denominators that numerators cancel.
            &[(3, 2, 18)],
            &[(3, 2, 19)],
            &[(1, 2, 100)],
            &[(41, 40, 1)],
            &[(41, 40, 6)],
            &[(41, 40, 7)],
            &[(74, 73, 2), (73, 61, 2), (61, 2, 2)],
            &[(73, 1, 5), (74, 73, 5)],
            &[(-1, 1, 3)],
            &[(-9, 1, 100)],
            &[(-9, 1, 99)],
            // Long ones: 1000 % and -1000 % a day for a century, and next to nothing left at all.
            &[(75, 73, 36_525)],
            &[(71, 73, 36_525)],
            &[(73_200, 73_000, 27_750), (73_001, 73_000, 8_775)],
            &[(1, 1_000_000_000_000, 400)],
            &[(-1, 1_000_000_000_000, 401)],
            // Hair's breadths beside a whole number.
            &[(1_000_000_000_001, 1_000_000_000_000, 100)],
            &[(999_999_999_999, 1_000_000_000_000, 100)],
            &[(10_999_999_999_999, 1_000_000_000_000, 100)],
        ] {
            let growth = growth(factors);
            for multiplier in [0, 1, -1, 2, -3, E18, -E18, 73 * E18, 1 << 122, -(1 << 122), (1 << 122) - 1] {
                let (cut, expected) = (growth.times(multiplier), exactly(&growth, multiplier));
                assert_eq!(cut, expected, "{multiplier} times {factors:?}");
            }
        }
    }

    #[test]
    fn what_remains_of_almost_nothing_is_not_nothing() {
        let rest = growth(&[(1, 1_000_000_000_000, 400)]);
        assert_eq!(rest.gain_on(1_000), Cut { floor: (-1_000).into(), exact: false });
        assert_eq!(rest.gain_on(-1_000), Cut { floor: 999.into(), exact: false });
        let nothing = growth(&[(0, 1, 1)]);
        assert_eq!(nothing.gain_on(1_000), Cut { floor: (-1_000).into(), exact: true });
    }

    /// Short fractions of the primes that occur, so that exact results and ties are common.
    fn common_factors() -> impl Strategy<Value = (i128, i128, u32)> {
        let number = prop::collection::vec(prop::sample::select(&DENOMINATOR_PRIMES[..]), 0..4)
            .prop_map(|primes| primes.into_iter().product::<i128>());
        (number.clone(), number, any::<bool>(), 0..8_u32).prop_map(
            |(numerator, denominator, minus, count)| {
                (if minus { -numerator } else { numerator }, denominator, count)
            },
        )
    }

    /// What rates of ten decimals and ACT/ACT lead to.
    fn long_factors() -> impl Strategy<Value = (i128, i128, u32)> {
        let denominator = 1_000_000_000_000 * 133_590_i128;
        (-10 * denominator..=11 * denominator, 0..400_u32)
            .prop_map(move |(numerator, count)| (numerator, denominator, count))
    }

    proptest! {
        #[test]
        fn bounds_lead_to_what_the_plain_way_leads_to(
            common in prop::collection::vec(common_factors(), 0..4),
            long in prop::collection::vec(long_factors(), 0..3),
            multiplier in -(1_i128 << 123)..=1_i128 << 123,
        ) {
            for factors in [common.clone(), [common, long].concat()] {
                let growth = growth(&factors);
                for multiplier in [multiplier, multiplier.signum(), 10_i128.pow(18)] {
                    prop_assert_eq!(growth.times(multiplier), exactly(&growth, multiplier));
                }
            }
        }
    }
}
