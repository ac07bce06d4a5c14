//! TLS and access tokens.

use std::path::PathBuf;

use clap::Args;

#[expect(clippy::doc_markdown, reason = "the comments are help texts, which show backticks as they are")]
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// Trust only the certificate authorities in this PEM file [default: those of the system]
    #[arg(long, global = true, env = "BANK_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Client certificate, a PEM file
    #[arg(long, global = true, env = "BANK_CERT_FILE", value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Private key of the client certificate, a PEM file
    #[arg(long, global = true, env = "BANK_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Name that the server's certificate must have [default: the host of the URL]
    #[arg(long, global = true, env = "BANK_SERVER_NAME", value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// File with the access token to send with every call [default: the variable BANK_TOKEN]
    #[arg(long, global = true, env = "BANK_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Send the token to another machine even without TLS, where others can read it
    #[arg(long, global = true)]
    pub(crate) allow_token_without_tls: bool,
}
