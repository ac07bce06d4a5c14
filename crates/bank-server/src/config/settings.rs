//! Every setting: its name, type and bounds. `config/default.toml` documents the defaults.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr};

use bank_domain::Currency;
use bank_store::{DurabilityLevel, redis::RedisUrl};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Value;
use tracing_subscriber::EnvFilter;

use crate::{
    admin::HostNames,
    auth::authentication::is_key_url,
    telemetry::{LEVELS, LogOptions, TraceOptions},
    tls::TlsVersion,
};

/// The defaults, as they are documented and built in.
pub const DEFAULTS: &str = include_str!("../../../../config/default.toml");

/// A setting and the values that it accepts.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Flag,
    Integer { min: i64, max: i64 },
    Choice(&'static [&'static str]),
    Text { allowed: &'static str, accepts: fn(&str) -> bool },
}

use Kind::{Choice, Flag};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_SECONDS: i64 = 366 * 24 * 60 * 60;
const ADDRESS: Kind =
    text("an address and a port, such as 127.0.0.1:50051 or [::]:50051", parses::<SocketAddr>);
const PATH: Kind = text("the path of a file, or empty", |_| true);

/// Declares the sections as types, and all settings as one table, in the order of `config/default.toml`.
macro_rules! settings {
    (
        sections {
            $($(#[doc = $doc:literal])* $member:ident: $section:ident = [$path:literal] {
                $($(#[$attribute:meta])* $field:ident: $type:ty = $kind:expr,)*
            })*
        }
        // Sections that are the options of a component.
        options {
            $($options_member:ident: $options:ty = [$options_path:literal] {
                $($option:ident = $option_kind:expr,)*
            })*
        }
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug, Deserialize)]
            #[serde(deny_unknown_fields)]
            #[expect(missing_docs, reason = "config/default.toml documents every setting")]
            pub struct $section {
                $($(#[$attribute])* pub $field: $type,)*
            }
        )*

        /// All settings, by section.
        #[derive(Clone, Debug)]
        #[expect(missing_docs, reason = "the types of the sections are documented")]
        pub struct Config {
            $(pub $member: $section,)*
            $(pub $options_member: $options,)*
        }

        impl Config {
            /// Reads every section from its values.
            pub(super) fn from_sections(
                values: impl Fn(&str) -> toml::Table,
            ) -> Result<Self, toml::de::Error> {
                Ok(Self {
                    $($member: values($path).try_into()?,)*
                    $($options_member: values($options_path).try_into()?,)*
                })
            }
        }

        /// Every setting, in the order of `config/default.toml`.
        pub(super) const SETTINGS: &[Setting] = &[
            $($(Setting { name: concat!($path, ".", stringify!($field)), kind: $kind },)*)*
            $($(Setting { name: concat!($options_path, ".", stringify!($option)), kind: $option_kind },)*)*
        ];
    };
}

settings! {
    sections {
        /// How calls come in.
        server: Server = ["server"] {
            listen: SocketAddr = ADDRESS,
            request_timeout_ms_max: u64 = integer(1, DAY_MS),
            stream_timeout_ms_max: u64 = integer(1, 31 * DAY_MS),
            reader_pause_ms_max: u64 = integer(10, DAY_MS),
            concurrent_audits_max: usize = integer(1, 1_000),
            shutdown_grace_ms: u64 = integer(1, DAY_MS),
            message_bytes_max: usize = integer(1024, 4 << 20),
            batch_operations_max: usize = integer(1, 10_000),
            batch_bytes_max: usize = integer(1024, 64 << 20),
            concurrent_batches_max: usize = integer(1, 10_000),
            batch_streams_max: usize = integer(1, 10_000),
            dry_run_bytes_max: usize = integer(1024, 64 << 30),
            // A page of a list takes up to 2 MiB and one item more.
            reply_bytes_max: usize = integer(3 << 20, 64 << 20),
            // hyper needs some room for the headers that every call has.
            header_bytes_max: u32 = integer(1024, 1 << 20),
            calls_in_flight_max: usize = integer(1, 1_000_000),
            buffered_bytes_max: usize = integer(1 << 20, 1 << 40),
            streams_max: usize = integer(1, 1_000_000),
            connections_max: usize = integer(1, 1_000_000),
            connections_per_peer_max: usize = integer(1, 1_000_000),
            first_call_timeout_ms: u64 = integer(100, DAY_MS),
            idle_timeout_ms: u64 = integer(100, DAY_MS),
            reflection: bool = Flag,
        }

        /// Where metrics and probes are served.
        admin: Admin = ["admin"] {
            #[serde(deserialize_with = "off_or_address")]
            listen: Option<SocketAddr> = text(
                "an address and a port, such as 127.0.0.1:9464, or \"off\"",
                |listen| listen == "off" || parses::<SocketAddr>(listen),
            ),
            #[serde(deserialize_with = "host_names")]
            hosts: HostNames = text(
                "host names separated by commas, such as bank-1,bank-2, or empty",
                |hosts| HostNames::parse(hosts).is_some(),
            ),
        }

        /// How connections are secured.
        tls: Tls = ["tls"] {
            certificate_file: PathBuf = PATH,
            key_file: PathBuf = PATH,
            client_ca_file: PathBuf = PATH,
            client_certificate_required: bool = Flag,
            version_min: TlsVersion = Choice(&["1.2", "1.3"]),
        }

        /// How callers are authenticated.
        auth: Auth = ["auth"] {
            mode: AuthMode = Choice(&["disabled", "jwt"]),
            allow_unauthenticated_network: bool = Flag,
            allow_tokens_without_tls: bool = Flag,
        }

        /// Which tokens are valid.
        jwt: Jwt = ["auth.jwt"] {
            issuer: String = text("text", |_| true),
            audience: String = text("text", |_| true),
            jwks_file: PathBuf = PATH,
            jwks_url: String = text(
                "an https URL without credentials, an http URL of this machine, or empty",
                |url| url.is_empty() || is_key_url(url),
            ),
            public_key_file: PathBuf = PATH,
            development_secret_file: PathBuf = PATH,
            leeway_seconds: u64 = integer(0, 600),
            refresh_interval_ms: u64 = integer(10, DAY_MS),
            refresh_pause_ms_min: u64 = integer(10, DAY_MS),
            fetch_timeout_ms: u64 = integer(10, 600_000),
            keys_unconfirmed_seconds_max: u64 = integer(1, YEAR_SECONDS),
        }

        /// The limits of one caller.
        callers: Callers = ["callers"] {
            calls_per_second_max: NonZeroU32 = integer(1, 1_000_000_000),
            calls_burst_max: NonZeroU32 = integer(1, 1_000_000_000),
            calls_in_flight_max: usize = integer(1, 1_000_000),
            buffered_bytes_max: usize = integer(1 << 20, 1 << 40),
            concurrent_batches_max: usize = integer(1, 10_000),
            batch_streams_max: usize = integer(1, 10_000),
            dry_run_bytes_max: usize = integer(1024, 64 << 30),
        }

        /// How the server checks that the store answers.
        health: Health = ["health"] {
            poll_interval_ms: u64 = integer(10, 600_000),
            poll_timeout_ms: u64 = integer(10, 600_000),
        }

        /// The rules that an operator chooses.
        bank: Bank = ["bank"] {
            default_currency: Currency = text(
                "the ISO 4217 code of a currency in force, such as USD",
                |code| code.parse().is_ok_and(|currency: Currency| currency.require_active().is_ok()),
            ),
            amount_minor_units_max: i64 = integer(1, 1 << 62),
        }

        /// How far clocks are trusted.
        clock: Clock = ["clock"] {
            offset_ms_max: u64 = integer(100, 60_000),
            entries_ahead_allowed: bool = Flag,
        }

        /// Where accounts are stored.
        store: Store = ["store"] {
            kind: StoreKind = Choice(&["embedded", "memory", "redis"]),
            partitions: u32 = integer(1, 16_384),
        }

        /// The file of the embedded store.
        embedded: Embedded = ["store.embedded"] {
            path: PathBuf = text("the path of a file", |path| !path.is_empty()),
            cache_bytes_max: usize = integer(1 << 20, 1 << 40),
            free_bytes_min: u64 = integer(0, 1 << 40),
        }

        /// How to reach Redis.
        redis: Redis = ["store.redis"] {
            url: RedisUrl = text(
                "redis://[user:password@]host:port[/database], rediss:// for TLS, \
                 redis-sentinel://host:port?sentinelServiceName=name, or redis-cluster://host:port?node=host:port",
                is_redis_url,
            ),
            url_file: String = PATH,
            key_prefix: String = text("of A-Z a-z 0-9 . _ : - and not empty", is_key_prefix),
            connect_timeout_ms: u64 = integer(100, 600_000),
            command_timeout_ms: u64 = integer(10, 600_000),
            reconnect_delay_ms_max: u64 = integer(50, 600_000),
            watchdog_interval_ms: u64 = integer(10, 600_000),
            durability: DurabilityLevel = Choice(&["none", "everysec", "always"]),
            replicas: u32 = integer(0, 100),
            bank_id: String = text(
                "a UUID in lower case such as 67e55044-10b1-426f-9247-bb680e5fe0c8, or empty",
                |id| id.is_empty() || id.parse::<uuid::Uuid>().is_ok_and(|uuid| uuid.to_string() == id),
            ),
            check_config: bool = Flag,
        }

        /// How commands are queued and committed, and how long outcomes are kept.
        ledger: Ledger = ["ledger"] {
            queue_commands_max: usize = integer(1, 1_000_000),
            accounts_remembered_max: usize = integer(1, 100_000_000),
            outcome_timeout_ms: u64 = integer(1, DAY_MS),
            request_retention_seconds: u64 = integer(60, YEAR_SECONDS),
        }

        /// The limits of watches.
        watch: Watch = ["watch"] {
            poll_interval_ms: u64 = integer(10, 600_000),
            heartbeat_interval_ms: u64 = integer(10, 600_000),
            consumer_timeout_ms: u64 = integer(10, 600_000),
            // The token of so many accounts fits into a request of the default size.
            accounts_max: usize = integer(1, 500),
            concurrent_max: usize = integer(1, 100_000),
            concurrent_per_caller_max: usize = integer(1, 100_000),
        }
    }

    options {
        log: LogOptions = ["log"] {
            level = Choice(&LEVELS),
            filter = text(
                "directives such as h2=debug,bank_store=trace, or empty",
                |filter| EnvFilter::builder().parse(filter).is_ok(),
            ),
            format = Choice(&["auto", "pretty", "json"]),
        }

        traces: TraceOptions = ["traces"] {
            otlp_endpoint = text(
                "http://host:4317, or empty",
                |url| url.is_empty() || (url.starts_with("http://") && parses::<http::Uri>(url)),
            ),
            sampled_percent = integer(0, 100),
        }
    }
}

/// How callers are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Not at all: every caller is the operator.
    Disabled,
    /// By signed tokens.
    Jwt,
}

/// The backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One file.
    Embedded,
    /// The memory of this process.
    Memory,
    /// Redis or Valkey.
    Redis,
}

impl Setting {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The setting that was probably meant: a similar name, or the only one that ends alike.
    pub(super) fn suggest(name: &str) -> Option<&'static str> {
        let distance = |setting: &Self| strsim::damerau_levenshtein(name, setting.name);
        let nearest = SETTINGS.iter().min_by_key(|setting| distance(setting))?;
        if distance(nearest) <= (name.len() / 4).max(2) {
            return Some(nearest.name);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let mut namesakes = SETTINGS.iter().filter(|setting| setting.name.rsplit('.').next() == Some(last));
        namesakes.next().filter(|_| namesakes.next().is_none()).map(|setting| setting.name)
    }

    pub(super) fn is_section(name: &str) -> bool {
        SETTINGS
            .iter()
            .any(|setting| setting.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Interprets text from the environment or a flag.
    pub(super) fn parse(&self, text: String) -> Value {
        let value = match self.kind {
            Flag => text.parse().ok().map(Value::Boolean),
            Kind::Integer { .. } => text.parse().ok().map(Value::Integer),
            _ => None,
        };
        value.unwrap_or(Value::String(text))
    }

    /// Whether this is a valid value. Nothing is guessed: `"1"` is not a number in a file, and `yes` is not true.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        match (&self.kind, value) {
            (Flag, Value::Boolean(_)) => true,
            (Kind::Integer { min, max }, Value::Integer(value)) => (min..=max).contains(&value),
            (Choice(choices), Value::String(text)) => choices.contains(&text.as_str()),
            (Kind::Text { accepts, .. }, Value::String(text)) => accepts(text),
            _ => false,
        }
    }

    /// The valid values, in words.
    pub(super) fn allowed(&self) -> String {
        match self.kind {
            Flag => "true or false".to_owned(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
                format!("one of {}", choices.join(", "))
            }
            Kind::Text { allowed, .. } => allowed.to_owned(),
        }
    }
}

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn text(allowed: &'static str, accepts: fn(&str) -> bool) -> Kind {
    Kind::Text { allowed, accepts }
}

fn parses<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

fn is_redis_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let schemes =
            ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];
        schemes.contains(&scheme) && !rest.is_empty()
    })
}

fn is_key_prefix(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    !text.is_empty() && text.bytes().all(is_plain)
}

fn off_or_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostNames, D::Error> {
    HostNames::parse(&String::deserialize(deserializer)?)
        .ok_or_else(|| D::Error::custom("not a list of names"))
}
