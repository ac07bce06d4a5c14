//! A server by its URL, and how the client is configured to talk to it.

use std::sync::Arc;

use bank_domain::redacted;
use fred::{
    clients::Client,
    types::{
        Builder,
        config::{
            Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig, UnresponsiveConfig,
        },
    },
};

use super::options::RedisOptions;
use crate::StoreError;

/// The schemes of a URL.
const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    /// For messages; never with the password.
    address: Arc<str>,
    is_cluster: bool,
    options: Arc<RedisOptions>,
}

impl Target {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let refuse = |why: &str| {
            Err(StoreError::Misconfigured(format!(
                "store.redis.url is not a URL of Redis ({why}); use redis://host:port, \
                 redis-sentinel://host:port?sentinelServiceName=name or redis-cluster://host:port?node=host:port"
            )))
        };
        let url = options.url.expose();
        // The client accepts any scheme, so that `db.example:6379` would lead to this machine.
        if !url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme)) {
            return refuse(&format!("the scheme must be one of {}", SCHEMES.join(", ")));
        }
        let config = match Config::from_url(url) {
            Ok(config) => config,
            Err(error) => return refuse(&redacted(error.details())),
        };
        let address = match &config.server {
            ServerConfig::Centralized { server } => name(server),
            ServerConfig::Sentinel { hosts, service_name, .. } => {
                let hosts: Vec<_> = hosts.iter().map(name).collect();
                format!("{service_name} by the sentinels {}", hosts.join(", "))
            }
            ServerConfig::Clustered { hosts, .. } => {
                let hosts: Vec<_> = hosts.iter().map(name).collect();
                format!("the cluster of {}", hosts.join(", "))
            }
        };
        let is_cluster = config.server.is_clustered();
        Ok(Self { config, address: address.into(), is_cluster, options: Arc::new(options.clone()) })
    }

    /// Whether this is a cluster, or a node of one.
    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The nodes of a cluster that its URL names.
    pub(super) fn seeds(&self) -> &[Server] {
        match &self.config.server {
            ServerConfig::Clustered { hosts, .. } => hosts,
            _ => &[],
        }
    }

    /// A node of this cluster, with the same user and TLS.
    pub(super) fn node(&self, server: &Server) -> Self {
        Self { address: name(server).into(), ..self.primary(server.clone()) }
    }

    /// The primary that the Sentinels of this URL name.
    pub(super) fn primary(&self, server: Server) -> Self {
        let server = ServerConfig::Centralized { server };
        Self { config: Config { server, ..self.config.clone() }, ..self.clone() }
    }

    /// The name of the primary and the Sentinels that watch it, if the URL names Sentinels.
    pub(super) fn sentinels(&self) -> Option<(String, Vec<Self>)> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &self.config.server else {
            return None;
        };
        let sentinel = |server: &Server| Self {
            config: Config {
                server: ServerConfig::Centralized { server: server.clone() },
                username: username.clone(),
                password: password.clone(),
                database: None,
                ..self.config.clone()
            },
            address: format!("{} (a Sentinel)", name(server)).into(),
            is_cluster: false,
            options: Arc::clone(&self.options),
        };
        Some((service_name.clone(), hosts.iter().map(sentinel).collect()))
    }

    /// Where this leads; `None` if the Sentinels have to be asked.
    pub(super) fn server(&self) -> Option<&Server> {
        match &self.config.server {
            ServerConfig::Centralized { server } => Some(server),
            _ => None,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn options(&self) -> &Arc<RedisOptions> {
        &self.options
    }

    /// A client that does not reconnect, so that every connection can be checked before it is used, and
    /// nothing queued for one is sent on the next.
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
                // The outcome of what was in flight on a broken connection is unknown. The caller decides whether to send
                // it again.
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
            .map_err(|error| {
                StoreError::Misconfigured(format!("cannot set up the Redis client: {}", error.details()))
            })
    }
}

fn name(server: &Server) -> String {
    format!("{}:{}", server.host, server.port)
}
