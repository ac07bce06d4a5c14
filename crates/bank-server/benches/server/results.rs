//! All measurements of a run, and what is calculated from them.

use bank_store::DurabilityLevel::{Always, EverySecond, None as Off};
use serde::Serialize;

use crate::{
    cases::{self, Stand},
    meter::Sample,
};

/// A measurement that was made once in each round, unless it failed in some.
pub(crate) struct Measured {
    pub(crate) stand: Stand,
    pub(crate) case: &'static str,
    pub(crate) rounds: Vec<Option<Sample>>,
}

/// The middle of several rounds, and how far they are apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

impl Measured {
    pub(crate) fn summary(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.rounds.iter().flatten().filter_map(of))
    }

    /// A figure as a multiple of the same figure of another measurement in the same round.
    pub(crate) fn over(&self, other: &Self, of: impl Fn(&Sample) -> f64) -> Option<Summary> {
        let pairs = self.rounds.iter().zip(&other.rounds).filter_map(|(a, b)| a.as_ref().zip(b.as_ref()));
        Summary::of(pairs.map(|(a, b)| of(a) / of(b)))
    }
}

/// In the order in which they were first made.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) measured: Vec<Measured>,
}

impl Results {
    /// Adds the result of a measurement in a round.
    pub(crate) fn add(&mut self, stand: Stand, case: &'static str, round: usize, sample: Option<Sample>) {
        let at = self.measured.iter().position(|measured| measured.stand == stand && measured.case == case);
        let at = at.unwrap_or_else(|| {
            self.measured.push(Measured { stand, case, rounds: Vec::new() });
            self.measured.len() - 1
        });
        let rounds = &mut self.measured[at].rounds;
        rounds.resize_with(round.max(rounds.len()), || None);
        rounds.push(sample);
    }

    pub(crate) fn get(&self, stand: Stand, case: &str) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.stand == stand && measured.case == case)
    }

    /// Of one figure in two measurements, the first as a multiple of the second in the same round.
    pub(crate) fn ratio(
        &self,
        (stand, case): (Stand, &str),
        (other_stand, other_case): (Stand, &str),
        of: impl Fn(&Sample) -> f64,
    ) -> Option<Summary> {
        self.get(stand, case)?.over(self.get(other_stand, other_case)?, of)
    }
}

/// The limit of a figure.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A requirement, and whether it holds.
#[derive(Serialize)]
pub(crate) struct Claim {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// If this run has measured it.
    pub(crate) measured: Option<Summary>,
}

impl Claim {
    /// Whether the median is within the bound.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtLeast(bound) => measured.median >= bound,
            Bound::AtMost(bound) => measured.median <= bound,
        })
    }
}

/// The requirements on the speed of the bank.
pub(crate) fn claims(results: &Results) -> Vec<Claim> {
    use Bound::{AtLeast, AtMost};
    use Stand::{Embedded, Memory, Noop, Redis, RedisAlone, TwoOnRedis};
    let speed = |sample: &Sample| sample.per_second;
    let claim = |what: &str, bound, measured| Claim { what: what.to_owned(), bound, measured };
    let everysec = Redis(EverySecond);
    let mut claims = vec![
        claim(
            "memory, unary 8x32: throughput / no-op",
            AtLeast(0.75),
            results.ratio((Memory, cases::UNARY_8X32), (Noop, cases::UNARY_8X32), speed),
        ),
        claim(
            "memory, unary 8x32: CPU a call / no-op",
            AtMost(1.6),
            results.ratio((Memory, cases::UNARY_8X32), (Noop, cases::UNARY_8X32), Sample::cpu_us),
        ),
        claim(
            "memory, unary 1x1: p50 / no-op",
            AtMost(1.25),
            results.ratio((Memory, cases::UNARY_1X1), (Noop, cases::UNARY_1X1), |sample| sample.p50_us),
        ),
        claim(
            "redis everysec, unary 8x32: throughput / no-op",
            AtLeast(0.3),
            results.ratio((everysec, cases::UNARY_8X32), (Noop, cases::UNARY_8X32), speed),
        ),
    ];
    for stand in [Memory, Embedded, Redis(Off), everysec, Redis(Always)] {
        claims.push(claim(
            &format!("{}: one account / 1,000 accounts", stand.name()),
            AtLeast(0.9),
            results.ratio((stand, cases::HOT), (stand, cases::RAW_8X32), speed),
        ));
    }
    claims.push(claim(
        "two servers on redis everysec: one account / 1,000 accounts",
        AtLeast(0.5),
        results.ratio((TwoOnRedis, cases::HOT), (TwoOnRedis, cases::RAW_8X32), speed),
    ));
    claims.push(claim(
        "two servers on redis everysec, affine client: throughput / one server",
        AtLeast(0.85),
        results.ratio((TwoOnRedis, cases::AFFINE), (everysec, cases::RAW_8X32), speed),
    ));
    let absolute =
        |stand, case, figure: fn(&Sample) -> Option<f64>| results.get(stand, case)?.summary(figure);
    claims.extend([
        claim(
            "two servers on redis everysec, one account: p99.9, ms",
            AtMost(100.0),
            absolute(TwoOnRedis, cases::HOT, |sample| Some(sample.p999_us / 1_000.0)),
        ),
        claim(
            "redis everysec, batches of 100: throughput / raw redis everysec, commits of 100",
            AtLeast(0.8),
            results.ratio(
                (everysec, cases::BATCHES_OF_100),
                (RedisAlone(EverySecond), cases::COMMITS_OF_100),
                speed,
            ),
        ),
        claim(
            "redis everysec, batches of 100: Redis CPU a deposit, us",
            AtMost(5.0),
            absolute(everysec, cases::BATCHES_OF_100, |sample| sample.redis_cpu_us),
        ),
        claim(
            "memory, batches of 1,000: deposits a second",
            AtLeast(1e6),
            absolute(Memory, cases::BATCHES_OF_1000, |sample| Some(sample.per_second)),
        ),
        claim(
            "embedded, batches of 1,000: deposits a second",
            AtLeast(2e5),
            absolute(Embedded, cases::BATCHES_OF_1000, |sample| Some(sample.per_second)),
        ),
    ]);
    for stand in Stand::ALL.into_iter().filter(|stand| stand.is_measured_with_many()) {
        claims.push(claim(
            &format!("{}: CPU a deposit, 1,000,000 accounts / 1,000", stand.name()),
            AtMost(1.3),
            results.ratio((stand, cases::MANY), (stand, cases::FEW_OF_MANY), Sample::cpu_us),
        ));
    }
    claims.push(claim(
        "redis everysec: the server's memory after deposits / before",
        AtMost(1.05),
        absolute(everysec, cases::HOT, |sample| Some(sample.server_memory_growth)),
    ));
    claims
}
