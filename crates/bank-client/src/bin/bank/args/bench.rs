//! `bank bench`.

use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};

use crate::value;

/// The calls of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// Pay money in
    Deposit,
    /// Pay money out
    Withdraw,
    /// Move money between two accounts
    Transfer,
    /// Read a balance
    Balance,
    /// 30 % deposits, 20 % withdrawals, 20 % transfers, 30 % balances
    Mixed,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// Operation to load the bank with
    #[arg(long, value_enum, default_value_t = Op::Deposit)]
    pub(crate) op: Op,
    /// Number of connections
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// Number of calls in flight on each connection
    #[arg(long, default_value_t = 16, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) inflight: u16,
    /// Duration of the measurement
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// Duration of the same load before the measurement
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = value::duration)]
    pub(crate) warm_up: Duration,
    /// Number of accounts
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=9_999_999))]
    pub(crate) accounts: u32,
    /// Exponent of Zipf's law by which accounts are chosen: 0 is even, at 0.99 a few get most calls
    #[arg(long, default_value_t = 0.0, value_name = "EXPONENT", value_parser = skew)]
    pub(crate) skew: f64,
    /// Number of operations per call
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Operations per second that are due, whatever the bank's speed [default: as many as possible]
    ///
    /// Latency is then measured from when a call was due: it includes the wait for earlier calls, as it does for
    /// independent callers.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew: &f64| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "write a number from 0 to 10, like 0.99".to_owned())
}
