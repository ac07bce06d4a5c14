//! The measured cases, and the stands that they are measured on.

use bank_store::DurabilityLevel::{self, Always, EverySecond, None as Off};

use crate::messages::Spread::{self, Affine, Uniform, Zipf};

/// The target of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// The server that does nothing.
    Noop,
    /// `bank-server` on the memory store.
    Memory,
    /// `bank-server` on the embedded store.
    Embedded,
    /// `bank-server` on a Redis.
    Redis(DurabilityLevel),
    /// Two of them on one.
    TwoOnRedis,
    /// The store on a Redis, without a server.
    RedisAlone(DurabilityLevel),
}

impl Stand {
    pub(crate) const ALL: [Self; 10] = [
        Self::Noop,
        Self::Memory,
        Self::Embedded,
        Self::Redis(Off),
        Self::Redis(EverySecond),
        Self::Redis(Always),
        Self::TwoOnRedis,
        Self::RedisAlone(Off),
        Self::RedisAlone(EverySecond),
        Self::RedisAlone(Always),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "no-op",
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Redis(Off) => "redis off",
            Self::Redis(EverySecond) => "redis everysec",
            Self::Redis(Always) => "redis always",
            Self::TwoOnRedis => "two on redis everysec",
            Self::RedisAlone(Off) => "raw redis off",
            Self::RedisAlone(EverySecond) => "raw redis everysec",
            Self::RedisAlone(Always) => "raw redis always",
        }
    }

    /// Whether `bank-server` is part of it.
    pub(crate) fn has_bank(self) -> bool {
        self.is_bank() || self == Self::TwoOnRedis
    }

    fn is_bank(self) -> bool {
        matches!(self, Self::Memory | Self::Embedded | Self::Redis(_))
    }

    pub(crate) fn is_measured_with_many(self) -> bool {
        matches!(self, Self::Memory | Self::Embedded | Self::Redis(EverySecond))
    }

    /// The stores that the short form is about.
    fn is_in_quick(self) -> bool {
        !matches!(
            self,
            Self::Embedded | Self::TwoOnRedis | Self::Redis(Off | Always) | Self::RedisAlone(Off | Always)
        )
    }
}

/// The client that makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// Tonic's client.
    Tonic,
    /// Prepared frames.
    Raw,
}

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Deposits, one a call.
    Unary { generator: Generator, connections: usize, in_flight: usize, spread: Spread },
    /// Deposits, so many a call, with the generator of frames.
    Batches { operations: u32, connections: usize, in_flight: usize },
    /// Deposits straight to the store, so many a commit.
    Commits { proposals: usize, in_flight: usize, accounts: u32 },
}

/// One measurement, on each stand that it is for.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    is_for: fn(Stand) -> bool,
    is_in_quick: bool,
}

pub(crate) const UNARY_1X1: &str = "unary 1x1";
pub(crate) const UNARY_8X32: &str = "unary 8x32";
pub(crate) const RAW_8X32: &str = "unary 8x32 raw";
pub(crate) const RAW_64X1: &str = "unary 64x1 raw";
pub(crate) const HOT: &str = "unary 8x32 raw, one account";
pub(crate) const AFFINE: &str = "unary 8x32 raw, affine client";
pub(crate) const ZIPF: &str = "unary 8x32 raw, zipf";
pub(crate) const FEW_OF_MANY: &str = "unary 8x32 raw, 1,000 of 1,000,000 accounts";
pub(crate) const MANY: &str = "unary 8x32 raw, 1,000,000 accounts";
pub(crate) const BATCHES_OF_100: &str = "batches of 100";
pub(crate) const BATCHES_OF_1000: &str = "batches of 1,000";
pub(crate) const COMMITS_OF_1: &str = "commits of 1";
pub(crate) const COMMITS_OF_100: &str = "commits of 100";

/// The default number of accounts of a load.
pub(crate) const ACCOUNTS: u32 = 1_000;
/// The number of accounts in the case of many.
pub(crate) const MANY_ACCOUNTS: u32 = 1_000_000;

const fn unary(generator: Generator, connections: usize, in_flight: usize, spread: Spread) -> Load {
    Load::Unary { generator, connections, in_flight, spread }
}

const CASES: [Case; 11] = [
    Case {
        name: UNARY_1X1,
        load: unary(Generator::Tonic, 1, 1, Uniform(ACCOUNTS)),
        is_for: |stand| stand == Stand::Noop || stand.is_bank(),
        is_in_quick: true,
    },
    Case {
        name: UNARY_8X32,
        load: unary(Generator::Tonic, 8, 32, Uniform(ACCOUNTS)),
        is_for: |stand| stand == Stand::Noop || stand.is_bank(),
        is_in_quick: true,
    },
    Case {
        name: RAW_8X32,
        load: unary(Generator::Raw, 8, 32, Uniform(ACCOUNTS)),
        is_for: |stand| matches!(stand, Stand::Noop | Stand::TwoOnRedis) || stand.is_bank(),
        is_in_quick: true,
    },
    Case {
        name: RAW_64X1,
        load: unary(Generator::Raw, 64, 1, Uniform(ACCOUNTS)),
        is_for: |stand| stand == Stand::Noop || stand.is_bank(),
        is_in_quick: false,
    },
    Case {
        name: HOT,
        load: unary(Generator::Raw, 8, 32, Uniform(1)),
        is_for: |stand| stand == Stand::TwoOnRedis || stand.is_bank(),
        is_in_quick: true,
    },
    Case {
        name: AFFINE,
        load: unary(Generator::Raw, 8, 32, Affine(ACCOUNTS)),
        is_for: |stand| stand == Stand::TwoOnRedis,
        is_in_quick: false,
    },
    Case {
        name: ZIPF,
        load: unary(Generator::Raw, 8, 32, Zipf(ACCOUNTS)),
        is_for: Stand::is_bank,
        is_in_quick: false,
    },
    Case {
        name: BATCHES_OF_100,
        load: Load::Batches { operations: 100, connections: 4, in_flight: 4 },
        is_for: Stand::is_bank,
        is_in_quick: true,
    },
    Case {
        name: BATCHES_OF_1000,
        load: Load::Batches { operations: 1_000, connections: 4, in_flight: 4 },
        is_for: Stand::is_bank,
        is_in_quick: true,
    },
    Case {
        name: COMMITS_OF_1,
        load: Load::Commits { proposals: 1, in_flight: 64, accounts: 16 },
        is_for: |stand| matches!(stand, Stand::RedisAlone(_)),
        is_in_quick: true,
    },
    Case {
        name: COMMITS_OF_100,
        load: Load::Commits { proposals: 100, in_flight: 4, accounts: ACCOUNTS },
        is_for: |stand| matches!(stand, Stand::RedisAlone(_)),
        is_in_quick: true,
    },
];

/// Loads on a bank with [`MANY_ACCOUNTS`]. Opening them takes longer than all else, so it is done once.
const ON_MANY: [Case; 2] = [
    Case {
        name: FEW_OF_MANY,
        load: unary(Generator::Raw, 8, 32, Uniform(ACCOUNTS)),
        is_for: Stand::is_measured_with_many,
        is_in_quick: false,
    },
    Case {
        name: MANY,
        load: unary(Generator::Raw, 8, 32, Uniform(MANY_ACCOUNTS)),
        is_for: Stand::is_measured_with_many,
        is_in_quick: false,
    },
];

/// The selection of one run.
pub(crate) struct Selection {
    pub(crate) is_quick: bool,
    /// Parts of the names of stands; all of them if there are none.
    pub(crate) stands: Vec<String>,
    /// Parts of the names of cases; all of them if there are none.
    pub(crate) cases: Vec<String>,
}

impl Selection {
    /// The stands in order, each with its cases.
    pub(crate) fn plan(&self) -> Vec<(Stand, Vec<&'static Case>)> {
        self.choose(&CASES)
    }

    /// The same on many accounts.
    pub(crate) fn plan_on_many(&self) -> Vec<(Stand, Vec<&'static Case>)> {
        self.choose(&ON_MANY)
    }

    fn choose(&self, cases: &'static [Case]) -> Vec<(Stand, Vec<&'static Case>)> {
        let (named, is_short) = (!self.stands.is_empty(), self.is_quick);
        let stands = Stand::ALL
            .into_iter()
            .filter(|stand| names(&self.stands, stand.name()) && (named || !is_short || stand.is_in_quick()));
        let chosen = |case: &&Case| {
            names(&self.cases, case.name) && (!self.cases.is_empty() || !is_short || case.is_in_quick)
        };
        stands
            .map(|stand| (stand, cases.iter().filter(|case| (case.is_for)(stand)).filter(chosen).collect()))
            .filter(|(_, cases): &(_, Vec<_>)| !cases.is_empty())
            .collect()
    }
}

fn names(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}
