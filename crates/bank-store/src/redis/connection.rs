//! One connection to Redis, bounded in every direction, and what its errors mean.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use fred::{
    clients::{Client, Pipeline},
    error::{Error as FredError, ErrorKind},
    interfaces::ClientLike as _,
    types::{
        Builder,
        config::{Config, ConnectionConfig, PerformanceConfig, ServerConfig, TcpConfig, UnresponsiveConfig},
    },
};
use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    RedisOptions, RedisUrl,
    errors::{Meaning, brief},
};
use crate::StoreError;

/// What a URL may begin with. That of a Cluster is known, to be told that it is not supported.
const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// Where Redis is, and within which bounds to speak with it.
pub(super) struct Target {
    config: Config,
    /// For messages; never with the password.
    address: Arc<str>,
    options: RedisOptions,
}

/// One connection, for as long as it lasts; it does not come back. It is closed with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Client,
    address: Arc<str>,
    /// A place for each command that may wait. The client's own bound is not used: once a command
    /// was turned away by it, the client leaves later ones unsent until something else happens on
    /// the connection.
    places: Arc<Semaphore>,
    driver: Arc<Driver>,
}

/// The task that reads and writes for a client. It would outlive the client.
#[derive(Debug)]
struct Driver {
    task: AbortHandle,
    ended: CancellationToken,
    /// Why it was ended from here, if it was.
    reason: OnceLock<String>,
    is_admitted: AtomicBool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's settings hold the password.
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let config = config(&options.url)?;
        let address = address(&config.server)?.into();
        Ok(Self { config, address, options: options.clone() })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// The client's settings. It is given no leave to connect anew, so that every connection can be
    /// looked at before it is used, and nothing queued for one is sent on the next.
    fn client(&self) -> Result<Client, StoreError> {
        let options = &self.options;
        let config = Config { fail_fast: true, ..self.config.clone() };
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
                tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
                ..ConnectionConfig::default()
            })
            .build()
            .map_err(|error| StoreError::Misconfigured(format!("redis client: {}", error.details())))
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if trying again cannot help as long as nobody changes anything;
    /// [`StoreError::Unavailable`] otherwise.
    pub(super) async fn open(target: &Target, deadline: Instant) -> Result<Self, StoreError> {
        let address = Arc::clone(&target.address);
        let client = target.client()?;
        match timeout_at(deadline, client.init()).await {
            Ok(Ok(task)) => {
                let places = Arc::new(Semaphore::new(target.options.command_buffer_max));
                let ended = CancellationToken::new();
                let driver = Arc::new(Driver {
                    task: task.abort_handle(),
                    ended: ended.clone(),
                    reason: OnceLock::new(),
                    is_admitted: AtomicBool::new(false),
                });
                tokio::spawn(async move {
                    let _guard = ended.drop_guard();
                    // However it ended: the connection is gone.
                    let _ = task.await;
                });
                Ok(Self { client, address, places, driver })
            }
            Ok(Err(error)) => Err(match is_final(&error) {
                Some(advice) => StoreError::Misconfigured(format!(
                    "redis at {address} refuses the connection: {}; {advice}",
                    brief(&error)
                )),
                None => StoreError::Unavailable(brief(&error)),
            }),
            Err(_) => {
                // Should it answer yet, nobody is there to close the connection.
                tokio::spawn(async move { client.quit().await });
                Err(StoreError::Unavailable("it does not answer".to_owned()))
            }
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn pipeline(&self) -> Pipeline<Client> {
        self.client.pipeline()
    }

    /// Runs one command or pipeline.
    pub(super) fn run<T>(
        &self,
        command: impl Future<Output = Result<T, FredError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let answer = self.attempt(command);
        async { answer.await?.map_err(|error| self.explain(&error)) }
    }

    /// Runs one command or pipeline, and leaves it to the caller what an answer of Redis means.
    pub(super) fn attempt<T>(
        &self,
        command: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let answer = self.attempt_at_once(command);
        async {
            let _place = self.places.try_acquire().map_err(|_| {
                StoreError::Unavailable(format!("too many commands wait for redis at {}", self.address))
            })?;
            answer.await
        }
    }

    /// As [`Connection::attempt`], however many commands wait: for those that look after the connection.
    pub(super) fn attempt_at_once<T>(
        &self,
        command: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // The client's futures are large: on the heap, those that contain them are not.
        let command = Box::pin(command);
        async {
            if self.has_ended() {
                let (address, reason) = (&self.address, self.reason());
                let text = format!("not connected to redis at {address}: {reason}");
                return Err(StoreError::Unavailable(text));
            }
            tokio::select! {
                // The driver answers all that is in flight before it ends; what came after has no answer.
                biased;
                answer = command => Ok(answer),
                () = self.ended() => {
                    let text = format!("the connection to redis at {} was lost", self.address);
                    Err(StoreError::OutcomeUnknown(text))
                }
            }
        }
    }

    /// What an error means. One that says that there is a better Redis to ask ends the connection.
    pub(super) fn explain(&self, error: &FredError) -> StoreError {
        let text = format!("redis at {}: {}", self.address, brief(error));
        match Meaning::of(error) {
            Meaning::Elsewhere => {
                self.close(error.details());
                StoreError::Unavailable(text)
            }
            Meaning::NotNow => StoreError::Unavailable(text),
            // What has worked before is being changed, and may be changed back.
            Meaning::Setup(_) if self.driver.is_admitted.load(Ordering::Relaxed) => {
                StoreError::Unavailable(text)
            }
            Meaning::Setup(advice) => StoreError::Misconfigured(format!("{text}; {advice}")),
            Meaning::Damage => StoreError::Corrupt(text),
            Meaning::Unknown => StoreError::OutcomeUnknown(text),
        }
    }

    /// It has been found to lead to what the bank needs.
    pub(super) fn admit(&self) {
        self.driver.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Ends the connection; what is in flight has no answer any more.
    pub(super) fn close(&self, reason: &str) {
        // The first one counts.
        let _ = self.driver.reason.set(reason.to_owned());
        self.driver.task.abort();
    }

    /// Why there is no connection any more.
    pub(super) fn reason(&self) -> &str {
        self.driver.reason.get().map_or("the connection was lost", String::as_str)
    }

    /// Can end the connection, but does not keep it open.
    pub(super) fn closer(&self) -> AbortHandle {
        self.driver.task.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.driver.ended.is_cancelled()
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) {
        self.driver.ended.cancelled().await;
    }
}

/// Whether trying again cannot help as long as nobody changes anything; with advice.
fn is_final(error: &FredError) -> Option<&'static str> {
    match (Meaning::of(error), error.kind()) {
        (Meaning::Setup(advice), _) => Some(advice),
        (
            _,
            ErrorKind::Auth
            | ErrorKind::Config
            | ErrorKind::Url
            | ErrorKind::InvalidArgument
            | ErrorKind::Tls,
        ) => Some("check store.redis.url"),
        _ => None,
    }
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
