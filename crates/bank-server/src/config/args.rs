//! The command line.

use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  A bank in the file data/bank.redb, on 127.0.0.1:50051:
      bank-server

  Another file; or memory only, to try things out:
      bank-server --data /var/lib/bank/bank.redb
      bank-server --store memory

  In Redis:
      bank-server --redis-url redis://127.0.0.1:6379

  Let other machines call, over TLS and with tokens; `bank keygen` and `bank token` make them:
      bank-server --listen 0.0.0.0:50051 \\
          --set tls.certificate_file=tls.pem --set tls.key_file=tls-key.pem --set auth.mode=jwt \\
          --set auth.jwt.issuer=dev --set auth.jwt.audience=bank --set auth.jwt.jwks_file=jwks.json

  The same with a file, its password kept out of it, and one setting changed:
      BANK__STORE__REDIS__URL_FILE=/run/secrets/redis_url \\
          bank-server --config /etc/bank.toml --set ledger.request_retention_seconds=604800

  Print every setting in effect and where it was set; or only check them:
      bank-server --config /etc/bank.toml --print-config
      bank-server --config /etc/bank.toml --check

  Check the whole file for damage; no server may have it open:
      bank-server --data /var/lib/bank/bank.redb --check-store

Settings, each overriding the one before: the defaults; the file; the environment, where
BANK__SECTION__SETTING sets section.setting; flags. Every setting with its unit: config/default.toml.

SIGTERM or SIGINT ends the server once the calls in flight are done; a second one ends it at once.

Exit codes: 0 all calls were finished, or the check found nothing; 1 it could not start, calls were cut
off, or the check found a problem; 2 the command line or a setting is wrong.";

/// The flags of `bank-server`.
#[expect(clippy::doc_markdown, reason = "the comments are help texts, which show backticks as they are")]
#[derive(clap::Parser, Clone, Debug, Default)]
#[command(name = "bank-server", version, about = "A bank over gRPC.", after_help = EXAMPLES)]
pub struct Args {
    /// Read settings from this TOML file
    #[arg(short, long, value_name = "PATH", env = "BANK_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,

    /// Listen for calls on this address; port 0 picks a free one [server.listen]
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Serve metrics and probes over HTTP on this address, or off [admin.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,

    /// Store accounts here: embedded, redis or memory [store.kind]
    #[arg(short, long, value_name = "KIND")]
    pub store: Option<String>,

    /// Store accounts in this file [store.embedded.path]
    #[arg(long, value_name = "PATH", conflicts_with = "redis_url")]
    pub data: Option<String>,

    /// Store accounts in this Redis. Other users of this machine can read flags: put a password
    /// into a file [store.redis.url_file] instead [store.redis.url]
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,

    /// Log level: error, warn, info, debug or trace [log.level]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Set any setting; may be given more than once
    #[arg(long, value_name = "SECTION.SETTING=VALUE")]
    pub set: Vec<String>,

    /// Print the settings in effect as TOML, without secrets, and exit
    #[arg(long)]
    pub print_config: bool,

    /// Check all settings and exit
    #[arg(long, conflicts_with = "print_config")]
    pub check: bool,

    /// Check the whole file of the embedded store, report what is wrong, and exit
    #[arg(long, conflicts_with_all = ["print_config", "check"])]
    pub check_store: bool,
}
