//! Who the bank is, and who calls it.

use std::path::PathBuf;

use clap::Args;

/// What a connection is secured with, and what is shown over it.
#[expect(clippy::doc_markdown, reason = "the comments are help texts, which show backticks as they are")]
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// Trust only the authorities in this file, in PEM form; those of the system unless given
    #[arg(long, global = true, env = "BANK_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Show the server this certificate, in PEM form
    #[arg(long, global = true, env = "BANK_CERT_FILE", value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// The private key of the certificate, in PEM form
    #[arg(long, global = true, env = "BANK_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The name that the server's certificate must have; the host of the URL unless given
    #[arg(long, global = true, env = "BANK_SERVER_NAME", value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Send the token in this file with every call; the one in the variable BANK_TOKEN unless given
    #[arg(long, global = true, env = "BANK_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Send the token even without TLS to another machine, where others on the way can read it
    #[arg(long, global = true)]
    pub(crate) allow_token_without_tls: bool,
}
