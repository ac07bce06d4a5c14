//! Where Redis is, by its URL, and how the client is set up to speak with it.

use std::{fmt, sync::Arc};

use bank_domain::redacted;
use fred::{
    clients::Client,
    types::{
        Builder,
        config::{Config, ConnectionConfig, PerformanceConfig, ServerConfig, TcpConfig, UnresponsiveConfig},
    },
};

use super::{
    RedisOptions, RedisUrl,
    sentinel::{Place, Sentinels},
};
use crate::StoreError;

/// What a URL may begin with. That of a Cluster is known, to be told that it is not supported.
const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// Where Redis is, and within which bounds to speak with it.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    /// For messages; never with the password.
    address: Arc<str>,
    options: RedisOptions,
    sentinels: Option<Arc<Sentinels>>,
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
        let sentinels = Sentinels::of(&config, options);
        Ok(Self { config, address, options: options.clone(), sentinels })
    }

    /// A server by its settings, whoever it is.
    pub(super) fn plain(config: Config, address: &str, options: &RedisOptions) -> Self {
        Self { config, address: address.into(), options: options.clone(), sentinels: None }
    }

    /// The same, where the Sentinels say that the primary is.
    pub(super) fn at(&self, place: &Place) -> Self {
        let server = ServerConfig::new_centralized(place.host.as_str(), place.port);
        Self { config: Config { server, ..self.config.clone() }, sentinels: None, ..self.clone() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Who says which Redis it is, if anybody does.
    pub(super) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        self.sentinels.as_ref()
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// The client's settings. It is given no leave to connect anew, so that every connection can be
    /// looked at before it is used, and nothing queued for one is sent on the next.
    pub(super) fn client(&self) -> Result<Client, StoreError> {
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
    Config::from_url(url.expose()).or_else(|error| refuse(&redacted(error.details())))
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
