//! `bank bench`.

use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};

use crate::value;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// Pay in
    Deposit,
    /// Pay out
    Withdraw,
    /// Move money between two accounts
    Transfer,
    /// Read the balance
    Balance,
    /// Of ten calls, three deposits, two withdrawals, two transfers and three balances
    Mixed,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// What is done
    #[arg(long, value_enum, default_value_t = Op::Deposit)]
    pub(crate) op: Op,
    /// How many connections there are
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// How many calls each of them has in flight
    #[arg(long, default_value_t = 16, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) inflight: u16,
    /// How long it is measured
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// How long the same is done before that
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = value::duration)]
    pub(crate) warm_up: Duration,
    /// How many accounts it is about
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=9_999_999))]
    pub(crate) accounts: u32,
    /// How unevenly: the exponent of Zipf's law, 0 for evenly, 0.99 for a few accounts with most calls
    #[arg(long, default_value_t = 0.0, value_name = "EXPONENT", value_parser = skew)]
    pub(crate) skew: f64,
    /// How many operations go together in a call
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// How many operations fall due a second, however fast the bank is; as fast as it can unless given
    ///
    /// What takes long is then measured from when it was due, so that waiting for the calls before it
    /// counts, as it does for callers who do not know of each other.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew: &f64| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "write a number from 0 to 10, like 0.99".to_owned())
}
