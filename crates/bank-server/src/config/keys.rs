//! What each key may be. The reasons for the defaults are in `config/default.toml`.

use bank_domain::{Currency, redacted};
use config::ValueKind;
use tracing_subscriber::EnvFilter;

use crate::{admin::HostNames, auth::authentication::is_key_url};

/// A key and the values that it takes.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Flag,
    Integer {
        min: i64,
        max: i64,
    },
    Choice(&'static [&'static str]),
    Text {
        allowed: &'static str,
        accepts: fn(&str) -> bool,
    },
    /// Text that may be secret as a whole: it is not shown where it is wrong.
    Secret {
        allowed: &'static str,
        accepts: fn(&str) -> bool,
    },
}

/// A value as a layer has it.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// From a layer that knows only text: it stands for whatever the key takes.
    Loose(String),
    Text(String),
    Integer(i64),
    Flag(bool),
    /// Nothing that any key takes; how to call it.
    Other(String),
}

/// Why a value does not do.
pub(super) struct Wrong {
    pub(super) found: String,
    pub(super) allowed: String,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_SECONDS: i64 = 366 * 24 * 60 * 60;

/// Every key there is, in the order of `config/default.toml`.
pub(super) const KEYS: &[Key] = &[
    text(
        "server.listen",
        "an address and a port, such as 127.0.0.1:50051 or [::]:50051",
        parses::<std::net::SocketAddr>,
    ),
    integer("server.request_timeout_ms_max", 1, DAY_MS),
    integer("server.stream_timeout_ms_max", 1, 31 * DAY_MS),
    integer("server.reader_pause_ms_max", 10, DAY_MS),
    integer("server.concurrent_audits_max", 1, 1_000),
    integer("server.shutdown_grace_ms", 1, DAY_MS),
    integer("server.message_bytes_max", 1024, 4 << 20),
    integer("server.batch_operations_max", 1, 10_000),
    integer("server.batch_bytes_max", 1024, 64 << 20),
    integer("server.concurrent_batches_max", 1, 10_000),
    integer("server.batch_streams_max", 1, 10_000),
    integer("server.stream_batches_max", 1, 1_000),
    integer("server.dry_run_bytes_max", 1024, 64 << 30),
    // A page of a list takes up to 2 MiB and one item more.
    integer("server.reply_bytes_max", 3 << 20, 64 << 20),
    // hyper needs some room for the headers that every call has.
    integer("server.header_bytes_max", 1024, 1 << 20),
    integer("server.concurrent_streams_max", 1, 100_000),
    integer("server.calls_in_flight_max", 1, 1_000_000),
    integer("server.buffered_bytes_max", 1 << 20, 1 << 40),
    integer("server.concurrent_scans_max", 1, 1_000),
    integer("server.streams_max", 1, 1_000_000),
    integer("server.connections_max", 1, 1_000_000),
    integer("server.connections_per_peer_max", 1, 1_000_000),
    integer("server.first_call_timeout_ms", 100, DAY_MS),
    integer("server.idle_timeout_ms", 100, DAY_MS),
    integer("server.resets_pending_max", 1, 100_000),
    integer("server.resets_by_server_max", 1, 100_000),
    integer("server.unread_messages_max", 0, 1_000_000),
    integer("server.unread_message_bytes_max", 0, 64 << 20),
    integer("server.unread_message_timeout_ms", 1, DAY_MS),
    integer("server.keepalive_interval_ms", 100, DAY_MS),
    integer("server.keepalive_timeout_ms", 100, DAY_MS),
    flag("server.reflection"),
    text("admin.listen", "an address and a port, such as 127.0.0.1:9464, or \"off\"", is_admin_listen),
    text("admin.hosts", "host names separated by commas, such as bank-1,bank-2, or empty", is_host_list),
    integer("admin.accounts_interval_ms", 10, DAY_MS),
    path("tls.certificate_file"),
    path("tls.key_file"),
    path("tls.client_ca_file"),
    flag("tls.client_certificate_required"),
    choice("tls.version_min", &["1.2", "1.3"]),
    integer("tls.handshake_timeout_ms", 100, 600_000),
    integer("tls.reload_interval_ms", 10, DAY_MS),
    choice("auth.mode", &["disabled", "jwt"]),
    flag("auth.allow_unauthenticated_network"),
    flag("auth.allow_tokens_without_tls"),
    text("auth.jwt.issuer", "text", |_| true),
    text("auth.jwt.audience", "text", |_| true),
    path("auth.jwt.jwks_file"),
    text(
        "auth.jwt.jwks_url",
        "an https URL without credentials, an http URL of this machine, or empty",
        |url| url.is_empty() || is_key_url(url),
    ),
    path("auth.jwt.public_key_file"),
    path("auth.jwt.development_secret_file"),
    integer("auth.jwt.leeway_seconds", 0, 600),
    integer("auth.jwt.token_bytes_max", 256, 1 << 20),
    integer("auth.jwt.tokens_remembered_max", 1, 1_000_000),
    integer("auth.jwt.refresh_interval_ms", 10, DAY_MS),
    integer("auth.jwt.refresh_pause_ms_min", 10, DAY_MS),
    integer("auth.jwt.fetch_timeout_ms", 10, 600_000),
    integer("auth.jwt.keys_unconfirmed_seconds_max", 1, YEAR_SECONDS),
    integer("callers.calls_per_second_max", 1, 1_000_000_000),
    integer("callers.calls_burst_max", 1, 1_000_000_000),
    integer("callers.calls_in_flight_max", 1, 1_000_000),
    integer("callers.buffered_bytes_max", 1 << 20, 1 << 40),
    integer("callers.concurrent_scans_max", 1, 1_000),
    integer("callers.concurrent_batches_max", 1, 10_000),
    integer("callers.batch_streams_max", 1, 10_000),
    integer("callers.dry_run_bytes_max", 1024, 64 << 30),
    integer("callers.remembered_max", 1, 100_000_000),
    integer("health.poll_interval_ms", 10, 600_000),
    integer("health.poll_timeout_ms", 10, 600_000),
    text(
        "bank.default_currency",
        "the ISO 4217 code of a currency in force, such as USD",
        is_active_currency,
    ),
    integer("bank.amount_minor_units_max", 1, 1 << 62),
    integer("clock.offset_ms_max", 100, 60_000),
    flag("clock.entries_ahead_allowed"),
    choice("store.kind", &["embedded", "memory", "redis"]),
    integer("store.partitions", 1, 16_384),
    text("store.embedded.path", "the path of a file", |text| !text.is_empty()),
    integer("store.embedded.cache_bytes_max", 1 << 20, 1 << 40),
    integer("store.embedded.free_bytes_min", 0, 1 << 40),
    Key {
        name: "store.redis.url",
        kind: Kind::Secret {
            allowed: "redis://[user:password@]host:port[/database], rediss:// for TLS, or \
                      redis-sentinel://host:port?sentinelServiceName=name",
            accepts: is_redis_url,
        },
    },
    path("store.redis.url_file"),
    text("store.redis.key_prefix", "of A-Z a-z 0-9 . _ : - and not empty", is_key_prefix),
    integer("store.redis.connect_timeout_ms", 100, 600_000),
    integer("store.redis.command_timeout_ms", 10, 600_000),
    integer("store.redis.reconnect_delay_ms_min", 1, 600_000),
    integer("store.redis.reconnect_delay_ms_max", 1, 600_000),
    integer("store.redis.command_buffer_max", 1, 1_000_000),
    integer("store.redis.watchdog_interval_ms", 10, 600_000),
    choice("store.redis.durability", &["none", "everysec", "always"]),
    integer("store.redis.replicas", 0, 100),
    integer("store.redis.replicas_timeout_ms", 1, 600_000),
    text(
        "store.redis.bank_id",
        "a UUID in lower case such as 67e55044-10b1-426f-9247-bb680e5fe0c8, or empty",
        is_bank_id,
    ),
    flag("store.redis.check_config"),
    integer("ledger.queue_commands_max", 1, 1_000_000),
    integer("ledger.batch_commands_max", 1, 10_000),
    integer("ledger.accounts_remembered_max", 1, 100_000_000),
    integer("ledger.outcome_timeout_ms", 1, DAY_MS),
    integer("ledger.resend_pause_ms", 1, 60_000),
    integer("ledger.request_retention_seconds", 60, YEAR_SECONDS),
    integer("watch.poll_interval_ms", 10, 600_000),
    integer("watch.heartbeat_interval_ms", 10, 600_000),
    integer("watch.consumer_timeout_ms", 10, 600_000),
    // A token of so many accounts fits into a request of the default size.
    integer("watch.accounts_max", 1, 500),
    integer("watch.concurrent_max", 1, 100_000),
    integer("watch.concurrent_per_caller_max", 1, 100_000),
    choice("log.level", &crate::telemetry::LEVELS),
    text("log.filter", "directives such as h2=debug,bank_store=trace, or empty", is_filter),
    choice("log.format", &["auto", "pretty", "json"]),
    text("traces.otlp_endpoint", "http://host:4317, or empty", is_otlp_endpoint),
    integer("traces.sampled_percent", 0, 100),
];

const fn integer(name: &'static str, min: i64, max: i64) -> Key {
    Key { name, kind: Kind::Integer { min, max } }
}

const fn flag(name: &'static str) -> Key {
    Key { name, kind: Kind::Flag }
}

const fn choice(name: &'static str, choices: &'static [&'static str]) -> Key {
    Key { name, kind: Kind::Choice(choices) }
}

const fn path(name: &'static str) -> Key {
    text(name, "the path of a file, or empty", |_| true)
}

const fn text(name: &'static str, allowed: &'static str, accepts: fn(&str) -> bool) -> Key {
    Key { name, kind: Kind::Text { allowed, accepts } }
}

impl Key {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key that was probably meant.
    pub(super) fn meant(name: &str) -> Option<&'static str> {
        let distance = |key: &Key| strsim::damerau_levenshtein(name, key.name);
        let nearest = KEYS.iter().min_by_key(|key| distance(key))?;
        if distance(nearest) <= (name.len() / 4).max(2) {
            return Some(nearest.name);
        }
        let last = |name: &'_ str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let mut namesakes = KEYS.iter().filter(|key| last(key.name) == last(name));
        match (namesakes.next(), namesakes.next()) {
            (Some(key), None) => Some(key.name),
            _ => None,
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret { .. })
    }

    pub(super) fn is_section(name: &str) -> bool {
        KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The value that was written, if the key takes it. Nothing is guessed: `"1"` is no number in a
    /// file, and `yes` is not true.
    pub(super) fn read(&self, written: Written) -> Result<ValueKind, Wrong> {
        let value = match (&self.kind, &written) {
            (Kind::Flag, Written::Flag(value)) => Some(ValueKind::Boolean(*value)),
            (Kind::Flag, Written::Loose(text)) => text.parse().ok().map(ValueKind::Boolean),
            (Kind::Integer { min, max }, Written::Integer(value)) => {
                (min..=max).contains(&value).then_some(ValueKind::I64(*value))
            }
            (Kind::Integer { min, max }, Written::Loose(text)) => {
                text.parse().ok().filter(|value| (min..=max).contains(&value)).map(ValueKind::I64)
            }
            (Kind::Choice(choices), Written::Text(text) | Written::Loose(text)) => {
                choices.contains(&text.as_str()).then(|| ValueKind::String(text.clone()))
            }
            (
                Kind::Text { accepts, .. } | Kind::Secret { accepts, .. },
                Written::Text(text) | Written::Loose(text),
            ) => accepts(text).then(|| ValueKind::String(text.clone())),
            _ => None,
        };
        value.ok_or_else(|| Wrong { found: self.shown(written), allowed: self.allowed() })
    }

    fn shown(&self, written: Written) -> String {
        match written {
            _ if self.is_secret() => "(not shown)".to_owned(),
            Written::Loose(text) | Written::Text(text) => format!("{:?}", redacted(&text)),
            Written::Integer(value) => value.to_string(),
            Written::Flag(value) => value.to_string(),
            Written::Other(name) => name,
        }
    }

    pub(super) fn allowed(&self) -> String {
        match self.kind {
            Kind::Flag => "true or false".to_owned(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
                format!("one of {}", choices.join(", "))
            }
            Kind::Text { allowed, .. } | Kind::Secret { allowed, .. } => allowed.to_owned(),
        }
    }
}

fn parses<T: std::str::FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

fn is_active_currency(text: &str) -> bool {
    text.parse().is_ok_and(|currency: Currency| currency.require_active().is_ok())
}

fn is_admin_listen(text: &str) -> bool {
    text == "off" || parses::<std::net::SocketAddr>(text)
}

fn is_host_list(text: &str) -> bool {
    HostNames::parse(text).is_some()
}

fn is_otlp_endpoint(text: &str) -> bool {
    text.is_empty() || (text.starts_with("http://") && parses::<http::Uri>(text))
}

fn is_redis_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel") && !rest.is_empty()
    })
}

fn is_key_prefix(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    !text.is_empty() && text.bytes().all(plain)
}

fn is_bank_id(text: &str) -> bool {
    text.is_empty() || text.parse::<uuid::Uuid>().is_ok_and(|id| id.to_string() == text)
}

fn is_filter(text: &str) -> bool {
    EnvFilter::builder().parse(text).is_ok()
}
