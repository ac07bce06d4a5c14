//! The configuration as the options of components, and checks across settings.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use bank_store::{
    clock::{SystemClock, Timekeeper},
    embedded::EmbeddedOptions,
    redis::RedisOptions,
};

use super::{AuthMode, Config, Jwt, Server, StoreKind, Tls};
use crate::{
    admission::{CallerLimits, ConnectionLimits, Limit},
    auth::authentication::{Format, KeyRefreshOptions, KeySource, TokenOptions},
    grpc::{ApiOptions, BatchBounds, ServerFacts},
    ledger::LedgerOptions,
    server::{CONCURRENT_STREAMS_MAX, HealthOptions, ServerOptions, Timeouts, UnreadBounds},
    store::StoreOptions,
    tls::{ClientCa, TlsOptions},
    watch::{WatchOptions, token_bytes_max},
};

/// The size of a request that resumes a watch without its token, at most: the id of an account or an owner.
const REQUEST_BYTES: usize = 256;

/// The most that all operations of a batch may move: 63/64 of the largest balance. So a batch that is rolled back
/// reveals nothing about accounts with less than the rest, 2^57 minor units.
const BATCH_MINOR_UNITS_MAX: i128 = (i64::MAX - (1 << 57)) as i128;

// Limits that nobody has a reason to change.

/// How much of messages is read and discarded after their calls were answered. A reset would count against the client,
/// which has done nothing wrong (`server/unread.rs`). Each takes about 2 KiB; 4 MiB is the largest message of most gRPC
/// programs, and five seconds allow for lost packets.
const UNREAD: UnreadBounds =
    UnreadBounds { messages_max: 10_000, bytes_max: 4 << 20, timeout: Duration::from_secs(5) };
/// How many batches of one stream are in progress at once: enough to have the next one queued during a commit.
const STREAM_BATCHES_MAX: usize = 4;
/// How many lists are read at once. More would not be faster on a few processors, and would delay movements of money.
const SCANS: Limit = Limit { total: 8, per_caller: 2 };
/// How many callers have their limits remembered, at about 300 bytes each. The least recent ones start anew.
const CALLERS_REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
/// How many commands share a commit: as many as a batch has operations by default, so that it costs one commit. A
/// thousand commands occupy Redis for some 20 milliseconds.
const COMMIT_COMMANDS_MAX: usize = 1_000;
/// The pause before a commit with an unknown outcome is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

impl Config {
    /// Values that are valid by themselves but not together.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut problems = self.exposure_problems();
        // A commit must be recognized for as long as it may be sent again.
        let resent_ms = self.server.request_timeout_ms_max.saturating_add(self.ledger.outcome_timeout_ms);
        let needed = resent_ms.saturating_mul(2).div_ceil(1000);
        let kept = self.ledger.request_retention_seconds;
        if kept < needed {
            problems.push(format!(
                "ledger.request_retention_seconds = {kept} is less than {needed}, twice the sum of \
                 server.request_timeout_ms_max and ledger.outcome_timeout_ms"
            ));
        }
        // A caller must be able to send back a token that it was given.
        let accounts_max = self.watch.accounts_max;
        let (needed, limit) = (token_bytes_max(accounts_max) + REQUEST_BYTES, self.server.message_bytes_max);
        if limit < needed {
            problems.push(format!(
                "server.message_bytes_max = {limit} is less than {needed}, the size of a request that resumes a watch \
                 of watch.accounts_max = {accounts_max} accounts"
            ));
        }
        // An atomic batch can be made to fail after it was decided, so it must not be able to fill an account whose
        // balance its caller wants to learn.
        let (operations, amount) = (self.batch_bounds().operations_max, self.bank.amount_minor_units_max);
        let batch = i128::try_from(operations).unwrap_or(i128::MAX).saturating_mul(amount.into());
        if batch > BATCH_MINOR_UNITS_MAX {
            problems.push(format!(
                "bank.amount_minor_units_max = {amount} is too much for batches of {operations} operations \
                 (server.batch_operations_max, callers.calls_burst_max): all operations of one may move at most \
                 {BATCH_MINOR_UNITS_MAX} minor units"
            ));
        }
        problems
    }

    /// What is wrong with TLS and authentication, in particular if other machines can reach the server.
    fn exposure_problems(&self) -> Vec<String> {
        let Self { server: Server { listen, .. }, tls, auth, jwt, .. } = self;
        let mut problems = Vec::new();
        let mut wrong = |problem: &str| problems.push(problem.to_owned());
        if given(&tls.certificate_file).is_some() != given(&tls.key_file).is_some() {
            wrong("tls.certificate_file and tls.key_file go together: set both, or neither");
        }
        if given(&tls.client_ca_file).is_some() && !self.has_tls() {
            wrong("tls.client_ca_file has no effect without tls.certificate_file and tls.key_file");
        }
        if auth.mode == AuthMode::Jwt {
            for (name, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
                if value.is_empty() {
                    wrong(&format!("auth.mode = \"jwt\" needs auth.jwt.{name}"));
                }
            }
            if jwt.key_sources().count() != 1 {
                wrong(
                    "auth.mode = \"jwt\" needs exactly one of auth.jwt.jwks_file, jwks_url, public_key_file and \
                     development_secret_file",
                );
            }
        }
        match auth.mode {
            _ if !self.is_reachable_by_others() => {}
            AuthMode::Disabled if !auth.allow_unauthenticated_network => wrong(&format!(
                "server.listen = \"{listen}\" is reachable from other machines, and with auth.mode = \"disabled\" \
                 everyone there can move anyone's money: set auth.mode = \"jwt\", listen on a loopback address such \
                 as 127.0.0.1, or set auth.allow_unauthenticated_network = true"
            )),
            AuthMode::Jwt if !self.has_tls() && !auth.allow_tokens_without_tls => wrong(&format!(
                "server.listen = \"{listen}\" is reachable from other machines, and without TLS tokens can be read \
                 and used on their way: set tls.certificate_file and tls.key_file, listen on a loopback address such \
                 as 127.0.0.1, or, if something in front of the server terminates TLS, set \
                 auth.allow_tokens_without_tls = true"
            )),
            AuthMode::Disabled | AuthMode::Jwt => {}
        }
        problems
    }

    fn has_tls(&self) -> bool {
        given(&self.tls.certificate_file).is_some() && given(&self.tls.key_file).is_some()
    }

    /// Whether other machines can reach the server.
    pub fn is_reachable_by_others(&self) -> bool {
        !self.server.listen.ip().to_canonical().is_loopback()
    }

    /// The options of TLS; `None` if it is off.
    pub fn tls_options(&self, clock: &Timekeeper) -> Option<TlsOptions> {
        let Tls { certificate_file, key_file, client_ca_file, client_certificate_required, version_min } =
            &self.tls;
        let client_ca = given(client_ca_file);
        Some(TlsOptions {
            certificate_file: given(certificate_file)?,
            key_file: given(key_file)?,
            client_ca: client_ca.map(|file| ClientCa { file, required: *client_certificate_required }),
            version_min: *version_min,
            handshake_timeout: ms(self.server.first_call_timeout_ms),
            clock: clock.clone(),
        })
    }

    /// The options of authentication; `None` if it is off.
    pub fn token_options(&self, clock: &Timekeeper) -> Option<TokenOptions> {
        let jwt = &self.jwt;
        let keys = jwt.key_sources().next().filter(|_| self.auth.mode == AuthMode::Jwt)?;
        Some(TokenOptions {
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            keys,
            refresh: KeyRefreshOptions {
                read_timeout: ms(jwt.fetch_timeout_ms),
                refresh_interval: ms(jwt.refresh_interval_ms),
                refresh_pause_min: ms(jwt.refresh_pause_ms_min),
                unconfirmed_max: Duration::from_secs(jwt.keys_unconfirmed_seconds_max),
            },
            leeway: Duration::from_secs(jwt.leeway_seconds),
            // Other headers need room, too.
            token_bytes_max: usize::try_from(self.server.header_bytes_max / 2).unwrap_or(usize::MAX),
            clock: clock.clone(),
        })
    }

    /// The options of the server.
    pub fn server_options(&self) -> ServerOptions {
        let server = &self.server;
        let request_timeout = ms(server.request_timeout_ms_max);
        ServerOptions {
            request_timeout,
            message_bytes_max: server.message_bytes_max,
            batch_bytes_max: server.batch_bytes_max,
            reply_bytes_max: server.reply_bytes_max,
            header_bytes_max: server.header_bytes_max,
            unread: UNREAD,
            connections: ConnectionLimits {
                total_max: server.connections_max,
                per_peer_max: server.connections_per_peer_max,
            },
            timeouts: Timeouts {
                first_call_timeout: ms(server.first_call_timeout_ms),
                idle_timeout: ms(server.idle_timeout_ms),
                reply_timeout: request_timeout,
            },
            streams_max: server.streams_max,
            callers: self.caller_limits(),
            reflection: server.reflection,
            health: HealthOptions {
                poll_interval: ms(self.health.poll_interval_ms),
                poll_timeout: ms(self.health.poll_timeout_ms),
            },
        }
    }

    /// How long calls in flight may take after the server was told to stop.
    pub fn shutdown_grace(&self) -> Duration {
        ms(self.server.shutdown_grace_ms)
    }

    /// The options of the API.
    pub fn api_options(&self) -> ApiOptions {
        ApiOptions {
            default_currency: self.bank.default_currency,
            amount_minor_units_max: self.bank.amount_minor_units_max,
            request_timeout: ms(self.server.request_timeout_ms_max),
            stream_timeout: ms(self.server.stream_timeout_ms_max),
            reader_pause_max: ms(self.server.reader_pause_ms_max),
            concurrent_audits_max: self.server.concurrent_audits_max,
            batches: self.batch_bounds(),
            watch: WatchOptions {
                poll_interval: ms(self.watch.poll_interval_ms),
                heartbeat_interval: ms(self.watch.heartbeat_interval_ms),
                consumer_timeout: ms(self.watch.consumer_timeout_ms),
                accounts_max: self.watch.accounts_max,
            },
            facts: self.server_facts(),
        }
    }

    fn batch_bounds(&self) -> BatchBounds {
        // A batch counts against the rate of its caller all at once, which allows no more.
        let burst = usize::try_from(self.callers.calls_burst_max.get()).unwrap_or(usize::MAX);
        BatchBounds {
            operations_max: self.server.batch_operations_max.min(burst),
            bytes_max: self.server.batch_bytes_max,
            stream_batches_max: STREAM_BATCHES_MAX,
        }
    }

    fn caller_limits(&self) -> CallerLimits {
        let Self { server, callers, watch, .. } = self;
        let limit = |total, per_caller| Limit { total, per_caller };
        CallerLimits {
            calls_per_second_max: callers.calls_per_second_max,
            calls_burst_max: callers.calls_burst_max,
            callers_remembered_max: CALLERS_REMEMBERED_MAX,
            calls: limit(server.calls_in_flight_max, callers.calls_in_flight_max),
            batches: limit(server.concurrent_batches_max, callers.concurrent_batches_max),
            streams: limit(server.batch_streams_max, callers.batch_streams_max),
            buffered_bytes: limit(server.buffered_bytes_max, callers.buffered_bytes_max),
            scans: SCANS,
            watches: limit(watch.concurrent_max, watch.concurrent_per_caller_max),
            dry_run_bytes: limit(server.dry_run_bytes_max, callers.dry_run_bytes_max),
        }
    }

    /// What `GetServerInfo` reports of the settings.
    fn server_facts(&self) -> ServerFacts {
        let LedgerOptions { queue_commands_max, batch_commands_max, outcome_timeout, .. } =
            self.ledger_options();
        ServerFacts {
            store_kind: match self.store.kind {
                StoreKind::Embedded => "embedded",
                StoreKind::Memory => "memory",
                StoreKind::Redis => "redis",
            },
            store_timeout: ms(self.health.poll_timeout_ms),
            message_bytes_max: self.server.message_bytes_max,
            reply_bytes_max: self.server.reply_bytes_max,
            header_bytes_max: self.server.header_bytes_max,
            concurrent_streams_max: CONCURRENT_STREAMS_MAX,
            queue_commands_max,
            batch_commands_max,
            callers: self.caller_limits(),
            outcome_timeout,
            request_retention: self.request_retention(),
        }
    }

    /// The options of the ledger.
    pub fn ledger_options(&self) -> LedgerOptions {
        LedgerOptions {
            queue_commands_max: self.ledger.queue_commands_max,
            accounts_remembered_max: self.ledger.accounts_remembered_max,
            outcome_timeout: ms(self.ledger.outcome_timeout_ms),
            batch_commands_max: COMMIT_COMMANDS_MAX,
            resend_pause: RESEND_PAUSE,
        }
    }

    /// The clock of this machine, as far as it is trusted.
    pub fn timekeeper(&self) -> Timekeeper {
        Timekeeper::new(Arc::new(SystemClock), ms(self.clock.offset_ms_max))
    }

    /// How long a store keeps the outcomes of requests.
    pub fn request_retention(&self) -> Duration {
        Duration::from_secs(self.ledger.request_retention_seconds)
    }

    /// The store to open, with its options.
    pub fn store_options(&self, clock: Timekeeper) -> StoreOptions {
        match self.store.kind {
            StoreKind::Embedded => StoreOptions::Embedded(self.embedded_options(clock)),
            StoreKind::Memory => StoreOptions::Memory {
                request_retention: self.request_retention(),
                partitions: self.store.partitions,
                clock,
            },
            StoreKind::Redis => StoreOptions::Redis(self.redis_options(clock)),
        }
    }

    fn embedded_options(&self, clock: Timekeeper) -> EmbeddedOptions {
        EmbeddedOptions {
            path: self.embedded.path.clone(),
            partitions: self.store.partitions,
            request_retention: self.request_retention(),
            cache_bytes_max: self.embedded.cache_bytes_max,
            free_bytes_min: self.embedded.free_bytes_min,
            clock,
            entries_ahead_allowed: self.clock.entries_ahead_allowed,
        }
    }

    fn redis_options(&self, clock: Timekeeper) -> RedisOptions {
        let redis = &self.redis;
        let command_timeout = ms(redis.command_timeout_ms);
        RedisOptions {
            url: redis.url.clone(),
            key_prefix: redis.key_prefix.clone(),
            partitions: self.store.partitions,
            request_retention: self.request_retention(),
            connect_timeout: ms(redis.connect_timeout_ms),
            command_timeout,
            redirect_timeout: ms(self.ledger.outcome_timeout_ms),
            reconnect_delay_max: ms(redis.reconnect_delay_ms_max),
            watchdog_interval: ms(redis.watchdog_interval_ms),
            durability: redis.durability,
            replicas: redis.replicas,
            // With more, replicas that are slow would look like a Redis that does not answer.
            replicas_timeout: command_timeout / 2,
            bank_id: Some(redis.bank_id.clone()).filter(|id| !id.is_empty()),
            check_config: redis.check_config,
            clock,
            entries_ahead_allowed: self.clock.entries_ahead_allowed,
            ..RedisOptions::default()
        }
    }
}

impl Jwt {
    fn key_sources(&self) -> impl Iterator<Item = KeySource> {
        let file = |path, format| given(path).map(|path| KeySource::File(path, format));
        let url = Some(&self.jwks_url).filter(|url| !url.is_empty());
        [
            file(&self.jwks_file, Format::Jwks),
            url.and_then(|url| url.parse().ok()).map(KeySource::JwksUrl),
            file(&self.public_key_file, Format::Pem),
            file(&self.development_secret_file, Format::Secret),
        ]
        .into_iter()
        .flatten()
    }
}

fn given(path: &PathBuf) -> Option<PathBuf> {
    Some(path).filter(|path| !path.as_os_str().is_empty()).cloned()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
