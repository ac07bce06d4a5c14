//! Keys, and tokens signed with them.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::value;

/// The scopes that the bank knows.
const SCOPES: [&str; 3] = ["bank.read", "bank.write", "bank.admin"];

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// What the files are called, without their endings
    #[arg(value_name = "NAME")]
    pub(crate) name: PathBuf,
    /// Do nothing if both files are there already
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Sign with the private key in this file, as `bank keygen` makes it
    #[arg(long, value_name = "FILE", required_unless_present = "secret_file")]
    pub(crate) signing_key: Option<PathBuf>,
    /// Sign with the secret in this file, which the server has too; at least 32 bytes
    #[arg(long, value_name = "FILE", conflicts_with = "signing_key")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Who the token is for; the accounts that they open belong to this name
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: String,
    /// What they may do; may be repeated, or a list with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = SCOPES)]
    pub(crate) scopes: Vec<String>,
    /// Who issues it: auth.jwt.issuer of the server
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: String,
    /// What the server is called: its auth.jwt.audience
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: String,
    /// How long it is good: 30s, 15m, 8h
    #[arg(long, default_value = "1h", value_parser = value::duration, value_name = "TIME")]
    pub(crate) expires_in: Duration,
}
