//! `bank keygen` and `bank token`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::value;

/// The scopes of the bank.
const SCOPES: [&str; 3] = ["bank.read", "bank.write", "bank.admin"];

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Path of the files, without their extensions
    #[arg(value_name = "NAME")]
    pub(crate) name: PathBuf,
    /// Do nothing if both files exist
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// File with the private key to sign with, from `bank keygen`
    #[arg(long, value_name = "FILE", required_unless_present = "secret_file")]
    pub(crate) signing_key: Option<PathBuf>,
    /// File with a secret of at least 32 bytes to sign with, which the server has too
    #[arg(long, value_name = "FILE", conflicts_with = "signing_key")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Subject of the token; accounts that it opens belong to this name
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: String,
    /// Scope of the token; may be repeated, or a list with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = SCOPES)]
    pub(crate) scopes: Vec<String>,
    /// Issuer of the token: auth.jwt.issuer of the server
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: String,
    /// Audience of the token: auth.jwt.audience of the server
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: String,
    /// Lifetime of the token: 30s, 15m, 8h
    #[arg(long, default_value = "1h", value_parser = value::duration, value_name = "TIME")]
    pub(crate) expires_in: Duration,
}
