//! The connection to Redis, bounded in every direction, and what its errors mean.

use std::{future::Future, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::{Error as FredError, ErrorKind},
    interfaces::ClientLike,
    types::{
        Builder, ClientState,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, ServerConfig,
            TcpConfig, UnresponsiveConfig,
        },
    },
};
use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{RedisOptions, RedisUrl};
use crate::StoreError;

/// One multiplexed connection that comes back by itself. It is closed with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Client,
    /// Where it leads, for messages; never with the password.
    address: String,
    /// A place for each command that may wait. The client's own bound is not used: once a command
    /// was turned away by it, the client leaves later ones unsent until something else happens on
    /// the connection, and if it is reached when a connection breaks, the client gives up for good.
    places: Arc<Semaphore>,
    _driver: Arc<Driver>,
}

/// The task that reads and writes for a client, and connects it anew. It would outlive the client.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a URL may begin with. That of a Cluster is known, to be told that it is not supported.
const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// The pause between two tries to connect for the first time.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

impl Connection {
    /// Connects, and keeps trying until `connect_timeout` has passed.
    pub(super) async fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let config = config(&options.url)?;
        let address = address(&config.server)?;
        let deadline = Instant::now() + options.connect_timeout;
        loop {
            let client = build(config.clone(), options)?;
            let reason = match timeout_at(deadline, client.init()).await {
                Ok(Ok(task)) => {
                    let places = Arc::new(Semaphore::new(options.command_buffer_max));
                    let driver = Arc::new(Driver(task.abort_handle()));
                    return Ok(Self { client, address, places, _driver: driver });
                }
                Ok(Err(error)) if is_final(&error) => {
                    return Err(StoreError::Misconfigured(format!(
                        "redis at {address} refuses the connection: {}",
                        error.details()
                    )));
                }
                Ok(Err(error)) => error.details().to_owned(),
                Err(_) => {
                    // Should it answer yet, nobody is there to close the connection.
                    tokio::spawn(async move { client.quit().await });
                    "it does not answer".to_owned()
                }
            };
            if Instant::now() + CONNECT_PAUSE >= deadline {
                return Err(StoreError::Unavailable(format!(
                    "redis at {address} could not be reached within {} ms: {reason}",
                    options.connect_timeout.as_millis()
                )));
            }
            sleep(CONNECT_PAUSE).await;
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs one command or pipeline.
    pub(super) async fn run<T>(
        &self,
        command: impl Future<Output = Result<T, FredError>>,
    ) -> Result<T, StoreError> {
        self.attempt(command).await?.map_err(|error| self.explain(&error))
    }

    /// Runs one command or pipeline, and leaves it to the caller what an answer of Redis means. A
    /// client that is not connected is not asked: what it has queued could still be sent long after
    /// its caller was told that nothing was done.
    pub(super) async fn attempt<T>(
        &self,
        command: impl Future<Output = Result<T, FredError>>,
    ) -> Result<Result<T, FredError>, StoreError> {
        self.require_connected()?;
        let _place = self.places.try_acquire().map_err(|_| {
            StoreError::Unavailable(format!("too many commands wait for redis at {}", self.address))
        })?;
        // The client's futures are large: on the heap, those that contain them are not.
        Ok(Box::pin(command).await)
    }

    pub(super) fn require_connected(&self) -> Result<(), StoreError> {
        match self.client.state() {
            ClientState::Connected => Ok(()),
            ClientState::Disconnected | ClientState::Disconnecting | ClientState::Connecting => {
                Err(StoreError::Unavailable(format!("not connected to redis at {}", self.address)))
            }
        }
    }

    pub(super) fn explain(&self, error: &FredError) -> StoreError {
        let text = format!("redis at {}: {}", self.address, error.details());
        match reply_code(error) {
            Some(
                "OOM" | "MISCONF" | "READONLY" | "LOADING" | "MASTERDOWN" | "BUSY" | "NOREPLICAS"
                | "CLUSTERDOWN" | "TRYAGAIN" | "NOAUTH" | "NOPERM" | "NOSCRIPT",
            ) => StoreError::Unavailable(text),
            Some(_) => StoreError::Corrupt(text),
            None => StoreError::OutcomeUnknown(text),
        }
    }

    /// Closes the connection, and waits for it to come back.
    pub(super) async fn reset(&self) {
        // An error means that there is no connection to close.
        let _ = self.client.force_reconnection().await;
    }
}

/// The first word of an error that Redis itself answered: whatever was asked was not done.
pub(super) fn reply_code(error: &FredError) -> Option<&str> {
    let word = error.details().split(' ').next().unwrap_or_default();
    let shouted = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    shouted.then_some(word)
}

/// Whether trying again cannot help.
fn is_final(error: &FredError) -> bool {
    // What Redis says about a password comes as another kind of error by way of Sentinel.
    matches!(
        error.kind(),
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::Url | ErrorKind::InvalidArgument | ErrorKind::Tls
    ) || matches!(reply_code(error), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

fn config(url: &RedisUrl) -> Result<Config, StoreError> {
    let refuse = |why: &str| {
        Err(StoreError::Misconfigured(format!(
            "store.redis.url is not one ({why}); write redis://host:port or \
             redis-sentinel://host:port?sentinelServiceName=name"
        )))
    };
    // The client takes any scheme, so that `db.example:6379` would lead to this machine.
    let scheme = url.expose().split_once("://").map_or("", |(scheme, _)| scheme);
    if !SCHEMES.contains(&scheme) {
        return refuse("it begins with none that is known");
    }
    Config::from_url(url.expose()).or_else(|error| refuse(error.details()))
}

fn address(server: &ServerConfig) -> Result<String, StoreError> {
    match server {
        ServerConfig::Centralized { server } => Ok(format!("{}:{}", server.host, server.port)),
        ServerConfig::Sentinel { hosts, service_name, .. } => {
            let hosts: Vec<_> = hosts.iter().map(|host| format!("{}:{}", host.host, host.port)).collect();
            Ok(format!("{service_name} by the sentinels {}", hosts.join(", ")))
        }
        ServerConfig::Clustered { .. } => Err(StoreError::Misconfigured(
            "Redis Cluster is not supported yet; use a stand-alone Redis or Sentinel".to_owned(),
        )),
        #[expect(unreachable_patterns, reason = "fred has more kinds with other features")]
        _ => Err(StoreError::Misconfigured("this kind of redis URL is not supported".to_owned())),
    }
}

fn build(config: Config, options: &RedisOptions) -> Result<Client, StoreError> {
    let config = Config { fail_fast: true, ..config };
    Builder::from_config(config)
        .set_performance_config(PerformanceConfig {
            default_command_timeout: options.command_timeout,
            ..PerformanceConfig::default()
        })
        .set_connection_config(ConnectionConfig {
            connection_timeout: options.connect_timeout,
            internal_command_timeout: options.command_timeout,
            // What was in flight when a connection died is reported as unknown, not sent again
            // behind our back: the caller decides.
            max_command_attempts: 1,
            max_command_buffer_len: 0,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(options.command_timeout),
                interval: options.command_timeout / 4,
            },
            reconnect_errors: vec![
                ReconnectError::ReadOnly,
                ReconnectError::Loading,
                ReconnectError::MasterDown,
            ],
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            milliseconds(options.reconnect_delay_min),
            milliseconds(options.reconnect_delay_max),
            2,
        ))
        .build()
        .map_err(|error| StoreError::Misconfigured(format!("redis client: {}", error.details())))
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
