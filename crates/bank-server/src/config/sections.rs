//! The configuration as types, and as the options of the components that it is for.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bank_domain::Currency;
use bank_store::{
    DurabilityLevel,
    clock::{SystemClock, Timekeeper},
    embedded::EmbeddedOptions,
    redis::{RedisOptions, RedisUrl},
};
use serde::{Deserialize, Deserializer};

use super::{Auth, Problem, Tls};
use crate::{
    admin::HostNames,
    admission::{BufferBounds, CallBounds, CallerBounds, ConnectionBounds, ScanBounds},
    grpc::{ApiOptions, BatchBounds, ServerFacts},
    ledger::LedgerOptions,
    server::{GateOptions, HealthOptions, Patience, ServerOptions, UnreadBounds},
    telemetry::{LogOptions, TraceOptions},
    watch::{WatchOptions, token_bytes_max},
};

/// What a request that resumes a watch has beside its token, at most: an account's id or an owner.
const REQUEST_BYTES: usize = 256;

/// The most that all operations of a batch may come to: 63/64 of what a balance can be. So a batch that is rolled
/// back tells nothing of accounts with less than the rest, 2^57 minor units.
const BATCH_MINOR_UNITS_MAX: i128 = (i64::MAX - (1 << 57)) as i128;

/// Everything that can be set. The keys are documented in `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub tls: Tls,
    pub auth: Auth,
    pub callers: Callers,
    pub health: Health,
    pub bank: Bank,
    pub clock: Clock,
    pub store: Store,
    pub ledger: Ledger,
    pub watch: Watch,
    pub log: LogOptions,
    pub traces: TraceOptions,
}

/// How calls come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Server {
    pub listen: SocketAddr,
    pub request_timeout_ms_max: u64,
    pub stream_timeout_ms_max: u64,
    pub reader_pause_ms_max: u64,
    pub concurrent_audits_max: usize,
    pub shutdown_grace_ms: u64,
    pub message_bytes_max: usize,
    pub batch_operations_max: usize,
    pub batch_bytes_max: usize,
    pub concurrent_batches_max: usize,
    pub batch_streams_max: usize,
    pub stream_batches_max: usize,
    pub dry_run_bytes_max: usize,
    pub reply_bytes_max: usize,
    pub header_bytes_max: u32,
    pub concurrent_streams_max: u32,
    pub calls_in_flight_max: usize,
    pub buffered_bytes_max: usize,
    pub concurrent_scans_max: usize,
    pub streams_max: usize,
    pub connections_max: usize,
    pub connections_per_peer_max: usize,
    pub first_call_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub resets_pending_max: usize,
    pub resets_by_server_max: usize,
    pub unread_messages_max: usize,
    pub unread_message_bytes_max: usize,
    pub unread_message_timeout_ms: u64,
    pub keepalive_interval_ms: u64,
    pub keepalive_timeout_ms: u64,
    pub reflection: bool,
}

/// Where metrics and probes are answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The address; none for no port.
    #[serde(deserialize_with = "admin_listen")]
    pub listen: Option<SocketAddr>,
    /// The names that it is reached by.
    #[serde(deserialize_with = "host_names")]
    pub hosts: HostNames,
    /// The pause between two counts of the accounts.
    pub accounts_interval_ms: u64,
}

/// What one caller may ask of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Callers {
    pub calls_per_second_max: NonZeroU32,
    pub calls_burst_max: NonZeroU32,
    pub calls_in_flight_max: usize,
    pub buffered_bytes_max: usize,
    pub concurrent_scans_max: usize,
    pub concurrent_batches_max: usize,
    pub batch_streams_max: usize,
    pub dry_run_bytes_max: usize,
    pub remembered_max: NonZeroUsize,
}

/// How the server knows whether it can serve.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Health {
    pub poll_interval_ms: u64,
    pub poll_timeout_ms: u64,
}

/// What the bank assumes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Bank {
    pub default_currency: Currency,
    pub amount_minor_units_max: i64,
}

/// How far clocks are trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Clock {
    pub offset_ms_max: u64,
    pub entries_ahead_allowed: bool,
}

/// Where accounts are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Store {
    pub kind: StoreKind,
    pub partitions: u32,
    pub embedded: Embedded,
    pub redis: Redis,
}

/// The backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One file.
    Embedded,
    /// This process's memory.
    Memory,
    /// Redis or Valkey.
    Redis,
}

impl StoreKind {
    /// As it is spelled in `store.kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

/// Which file, and within which bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Embedded {
    pub path: PathBuf,
    pub cache_bytes_max: usize,
    pub free_bytes_min: u64,
}

/// How to reach Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Redis {
    #[serde(deserialize_with = "redis_url")]
    pub url: RedisUrl,
    pub url_file: String,
    pub key_prefix: String,
    pub connect_timeout_ms: u64,
    pub command_timeout_ms: u64,
    pub reconnect_delay_ms_min: u64,
    pub reconnect_delay_ms_max: u64,
    pub command_buffer_max: usize,
    pub watchdog_interval_ms: u64,
    pub durability: Durability,
    pub replicas: u32,
    pub replicas_timeout_ms: u64,
    pub bank_id: String,
    pub check_config: bool,
}

/// How firmly Redis must keep a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// As its snapshots do.
    None,
    /// Synced to the disk every second.
    Everysec,
    /// Synced to the disk before it is acknowledged.
    Always,
}

/// How commands are queued, committed and remembered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Ledger {
    pub queue_commands_max: usize,
    pub batch_commands_max: usize,
    pub accounts_remembered_max: usize,
    pub outcome_timeout_ms: u64,
    pub resend_pause_ms: u64,
    pub request_retention_seconds: u64,
}

/// How histories are watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every key, with its unit and its reason")]
pub struct Watch {
    pub poll_interval_ms: u64,
    pub heartbeat_interval_ms: u64,
    pub consumer_timeout_ms: u64,
    pub accounts_max: usize,
    pub concurrent_max: usize,
    pub concurrent_per_caller_max: usize,
}

impl Config {
    /// Values that are each right, but not together.
    pub(super) fn contradictions(&self) -> Vec<Problem> {
        let redis = &self.store.redis;
        let Redis { reconnect_delay_ms_min: min, reconnect_delay_ms_max: max, .. } = redis;
        let mut problems = Vec::new();
        if min > max {
            problems.push(Problem::Contradiction(format!(
                "store.redis.reconnect_delay_ms_min = {min} is more than store.redis.reconnect_delay_ms_max = {max}"
            )));
        }
        let Redis { replicas_timeout_ms: wait, command_timeout_ms: command, .. } = redis;
        if redis.replicas > 0 && wait >= command {
            problems.push(Problem::Contradiction(format!(
                "store.redis.replicas_timeout_ms = {wait} is not less than store.redis.command_timeout_ms = {command}"
            )));
        }
        // A commit must be recognised for as long as it may be sent again.
        let sent_again_ms = self.server.request_timeout_ms_max.saturating_add(self.ledger.outcome_timeout_ms);
        let needed = sent_again_ms.saturating_mul(2).div_ceil(1000);
        let kept = self.ledger.request_retention_seconds;
        if kept < needed {
            problems.push(Problem::Contradiction(format!(
                "ledger.request_retention_seconds = {kept} is less than {needed}, twice what \
                 server.request_timeout_ms_max and ledger.outcome_timeout_ms come to"
            )));
        }
        // Whoever was given a token must be able to come back with it.
        let accounts_max = self.watch.accounts_max;
        let (needed, taken) = (token_bytes_max(accounts_max) + REQUEST_BYTES, self.server.message_bytes_max);
        if taken < needed {
            problems.push(Problem::Contradiction(format!(
                "server.message_bytes_max = {taken} is less than {needed}, which a request can have that resumes \
                 a watch of watch.accounts_max = {accounts_max} accounts"
            )));
        }
        // An atomic batch can be made to fail after it was decided, so it must not be able to fill an account whose
        // balance its caller wants to learn.
        let (operations, amount) = (self.batch_bounds().operations_max, self.bank.amount_minor_units_max);
        if i128::try_from(operations).unwrap_or(i128::MAX).saturating_mul(amount.into())
            > BATCH_MINOR_UNITS_MAX
        {
            problems.push(Problem::Contradiction(format!(
                "bank.amount_minor_units_max = {amount} is too much for batches of {operations} operations \
                 (server.batch_operations_max, callers.calls_burst_max): all operations of one may move at most \
                 {BATCH_MINOR_UNITS_MAX} minor units"
            )));
        }
        problems.extend(self.open_doors());
        problems
    }

    /// What the server is started with.
    pub fn server_options(&self) -> ServerOptions {
        let Server { message_bytes_max, reply_bytes_max, header_bytes_max, .. } = self.server;
        let Server { connections_max, connections_per_peer_max, .. } = self.server;
        let request_timeout = Duration::from_millis(self.server.request_timeout_ms_max);
        ServerOptions {
            request_timeout,
            message_bytes_max,
            batch_bytes_max: self.server.batch_bytes_max,
            reply_bytes_max,
            header_bytes_max,
            concurrent_streams_max: self.server.concurrent_streams_max,
            resets_pending_max: self.server.resets_pending_max,
            resets_by_server_max: self.server.resets_by_server_max,
            unread: UnreadBounds {
                messages_max: self.server.unread_messages_max,
                bytes_max: self.server.unread_message_bytes_max,
                timeout: Duration::from_millis(self.server.unread_message_timeout_ms),
            },
            connections: ConnectionBounds { connections_max, connections_per_peer_max },
            patience: Patience {
                first_call_timeout: Duration::from_millis(self.server.first_call_timeout_ms),
                idle_timeout: Duration::from_millis(self.server.idle_timeout_ms),
                reply_timeout: request_timeout,
            },
            calls: CallBounds {
                calls_in_flight_max: self.server.calls_in_flight_max,
                concurrent_batches_max: self.server.concurrent_batches_max,
                batch_streams_max: self.server.batch_streams_max,
            },
            streams_max: self.server.streams_max,
            callers: self.caller_bounds(),
            keepalive_interval: Duration::from_millis(self.server.keepalive_interval_ms),
            keepalive_timeout: Duration::from_millis(self.server.keepalive_timeout_ms),
            reflection: self.server.reflection,
            health: HealthOptions {
                poll_interval: Duration::from_millis(self.health.poll_interval_ms),
                poll_timeout: Duration::from_millis(self.health.poll_timeout_ms),
            },
        }
    }

    /// How callers are known, and their connections secured.
    pub fn gate_options(&self, clock: &Timekeeper) -> GateOptions {
        let (tls, tokens) = (self.tls_options(clock), self.token_options(clock));
        GateOptions { tls, tokens, is_for_others: self.is_for_others() }
    }

    /// The pause between two counts of the accounts.
    pub fn accounts_interval(&self) -> Duration {
        Duration::from_millis(self.admin.accounts_interval_ms)
    }

    /// How long calls in flight have to finish when the server is told to stop.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.server.shutdown_grace_ms)
    }

    /// What the API is made with.
    pub fn api_options(&self) -> ApiOptions {
        ApiOptions {
            default_currency: self.bank.default_currency,
            amount_minor_units_max: self.bank.amount_minor_units_max,
            request_timeout: Duration::from_millis(self.server.request_timeout_ms_max),
            stream_timeout: Duration::from_millis(self.server.stream_timeout_ms_max),
            reader_pause_max: Duration::from_millis(self.server.reader_pause_ms_max),
            concurrent_audits_max: self.server.concurrent_audits_max,
            batches: self.batch_bounds(),
            watch: self.watch_options(),
            facts: self.server_facts(),
        }
    }

    fn batch_bounds(&self) -> BatchBounds {
        // A batch counts against the rate of its caller all at once, which has no room for more.
        let burst = usize::try_from(self.callers.calls_burst_max.get()).unwrap_or(usize::MAX);
        BatchBounds {
            operations_max: self.server.batch_operations_max.min(burst),
            bytes_max: self.server.batch_bytes_max,
            stream_batches_max: self.server.stream_batches_max,
            dry_run_bytes_max: self.server.dry_run_bytes_max,
            dry_run_bytes_per_caller_max: self.callers.dry_run_bytes_max,
        }
    }

    /// What one caller may ask for.
    fn caller_bounds(&self) -> CallerBounds {
        CallerBounds {
            calls_per_second_max: self.callers.calls_per_second_max,
            calls_burst_max: self.callers.calls_burst_max,
            calls: CallBounds {
                calls_in_flight_max: self.callers.calls_in_flight_max,
                concurrent_batches_max: self.callers.concurrent_batches_max,
                batch_streams_max: self.callers.batch_streams_max,
            },
            buffers: BufferBounds {
                in_all_bytes_max: self.server.buffered_bytes_max,
                of_one_bytes_max: self.callers.buffered_bytes_max,
            },
            scans: ScanBounds {
                in_all_max: self.server.concurrent_scans_max,
                of_one_max: self.callers.concurrent_scans_max,
            },
            callers_remembered_max: self.callers.remembered_max,
        }
    }

    /// What callers may know of the settings.
    fn server_facts(&self) -> ServerFacts {
        let Server { message_bytes_max, reply_bytes_max, header_bytes_max, .. } = self.server;
        let Ledger { queue_commands_max, batch_commands_max, .. } = self.ledger;
        ServerFacts {
            store_kind: self.store.kind.as_str(),
            store_timeout: Duration::from_millis(self.health.poll_timeout_ms),
            message_bytes_max,
            reply_bytes_max,
            header_bytes_max,
            concurrent_streams_max: self.server.concurrent_streams_max,
            queue_commands_max,
            batch_commands_max,
            batches: self.batch_bounds(),
            callers: self.caller_bounds(),
            outcome_timeout: Duration::from_millis(self.ledger.outcome_timeout_ms),
            request_retention: self.request_retention(),
        }
    }

    /// What the ledger is started with.
    pub fn ledger_options(&self) -> LedgerOptions {
        let Ledger { queue_commands_max, batch_commands_max, accounts_remembered_max, .. } = self.ledger;
        LedgerOptions {
            queue_commands_max,
            batch_commands_max,
            accounts_remembered_max,
            outcome_timeout: Duration::from_millis(self.ledger.outcome_timeout_ms),
            resend_pause: Duration::from_millis(self.ledger.resend_pause_ms),
        }
    }

    /// The bounds of watches.
    fn watch_options(&self) -> WatchOptions {
        let Watch { accounts_max, concurrent_max, concurrent_per_caller_max, .. } = self.watch;
        WatchOptions {
            poll_interval: Duration::from_millis(self.watch.poll_interval_ms),
            heartbeat_interval: Duration::from_millis(self.watch.heartbeat_interval_ms),
            consumer_timeout: Duration::from_millis(self.watch.consumer_timeout_ms),
            accounts_max,
            concurrent_max,
            concurrent_per_caller_max,
        }
    }

    /// The clock of this machine, as far as it is trusted. All of a server goes by one.
    pub fn timekeeper(&self) -> Timekeeper {
        Timekeeper::new(Arc::new(SystemClock), Duration::from_millis(self.clock.offset_ms_max))
    }

    /// How long any store keeps the outcomes of requests.
    pub fn request_retention(&self) -> Duration {
        Duration::from_secs(self.ledger.request_retention_seconds)
    }

    /// What the embedded store is opened with.
    pub fn embedded_options(&self, clock: Timekeeper) -> EmbeddedOptions {
        let Embedded { path, cache_bytes_max, free_bytes_min } = self.store.embedded.clone();
        EmbeddedOptions {
            path,
            partitions: self.store.partitions,
            request_retention: self.request_retention(),
            cache_bytes_max,
            free_bytes_min,
            clock,
            entries_ahead_allowed: self.clock.entries_ahead_allowed,
        }
    }

    /// What the Redis store is opened with.
    pub fn redis_options(&self, clock: Timekeeper) -> RedisOptions {
        let redis = &self.store.redis;
        RedisOptions {
            url: redis.url.clone(),
            key_prefix: redis.key_prefix.clone(),
            partitions: self.store.partitions,
            request_retention: self.request_retention(),
            connect_timeout: Duration::from_millis(redis.connect_timeout_ms),
            command_timeout: Duration::from_millis(redis.command_timeout_ms),
            reconnect_delay_min: Duration::from_millis(redis.reconnect_delay_ms_min),
            reconnect_delay_max: Duration::from_millis(redis.reconnect_delay_ms_max),
            command_buffer_max: redis.command_buffer_max,
            watchdog_interval: Duration::from_millis(redis.watchdog_interval_ms),
            durability: match redis.durability {
                Durability::None => DurabilityLevel::None,
                Durability::Everysec => DurabilityLevel::EverySecond,
                Durability::Always => DurabilityLevel::Always,
            },
            replicas: redis.replicas,
            replicas_timeout: Duration::from_millis(redis.replicas_timeout_ms),
            bank_id: Some(redis.bank_id.clone()).filter(|id| !id.is_empty()),
            check_config: redis.check_config,
            clock,
            entries_ahead_allowed: self.clock.entries_ahead_allowed,
        }
    }
}

fn redis_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RedisUrl, D::Error> {
    String::deserialize(deserializer).map(RedisUrl::new)
}

/// `off`, or an address.
fn admin_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostNames, D::Error> {
    let list = String::deserialize(deserializer)?;
    HostNames::parse(&list).ok_or_else(|| serde::de::Error::custom("not a list of names"))
}
