//! What a Redis is, holds and is set to, as it reports itself.

use std::collections::HashMap;

use bank_domain::Timestamp;
use fred::{
    error::{Error as FredError, ErrorKind},
    types::Value,
};

use super::{
    connection::{Command, Connection, command},
    errors::reply_code,
    options::RedisOptions,
    reply,
};
use crate::StoreError;

/// The oldest Redis that can hold a bank.
const REDIS_MAJOR_MIN: u32 = 7;

/// The settings that durability depends on.
const SETTINGS: [&str; 4] = ["appendfsync", "appendonly", "maxmemory-policy", "no-appendfsync-on-rewrite"];

/// The settings that decide when a cluster replaces a node, and when it stops; asked only of its nodes.
const CLUSTER_SETTINGS: [&str; 3] = [ALLOW_READS_WHEN_DOWN, NODE_TIMEOUT, REQUIRE_FULL_COVERAGE];
pub(super) const ALLOW_READS_WHEN_DOWN: &str = "cluster-allow-reads-when-down";
pub(super) const NODE_TIMEOUT: &str = "cluster-node-timeout";
pub(super) const REQUIRE_FULL_COVERAGE: &str = "cluster-require-full-coverage";

#[derive(Clone, Debug)]
pub(super) struct Inspection {
    /// Differs for each start of a Redis.
    pub(super) run_id: String,
    pub(super) is_primary: bool,
    /// Whether it is still reading its files.
    pub(super) is_loading: bool,
    /// The id of the bank that it holds, empty if there is none; `None` if it was not asked, or the partition that it was
    /// asked for is on the move.
    pub(super) bank_id: Option<String>,
    /// By its clock.
    pub(super) time: Timestamp,
    /// By its clock; the time of the newest commit, within a second.
    pub(super) committed_at: Option<Timestamp>,
    /// How many replicas are in sync.
    pub(super) replicas: u32,
    /// Whether its append-only file is being rewritten, or the last rewrite failed.
    pub(super) is_rewriting: bool,
    /// The settings that matter, or why it does not show them; `None` if it was not asked.
    pub(super) settings: Option<Result<HashMap<String, String>, String>>,
}

/// Inspects a Redis, in one round trip, and compares its clock with ours. The key is that of the identity of the bank.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if it does not respond; another if it replies with an error.
pub(super) async fn inspect(
    connection: &Connection,
    meta_key: Option<&str>,
    options: &RedisOptions,
) -> Result<Inspection, StoreError> {
    let mut commands =
        vec![command("INFO", ["server", "replication", "persistence"]), command("TIME", [(); 0])];
    if let Some(meta_key) = meta_key {
        commands.push(command("HMGET", [meta_key, "bank_id", "committed_at"]));
    }
    if options.check_config {
        let of_cluster = if connection.target().is_cluster() { &CLUSTER_SETTINGS[..] } else { &[] };
        commands.push(command("CONFIG", [&["GET"], SETTINGS.as_slice(), of_cluster].concat()));
    }
    let asked_at = options.clock.steady();
    let mut replies = connection.probe(commands).await?.into_iter();
    let mut next =
        || replies.next().unwrap_or_else(|| Err(FredError::new(ErrorKind::Protocol, "a reply is missing")));

    let explain = |error: FredError| connection.explain(&error);
    let info = Info(reply::text(next().map_err(explain)?)?);
    info.require_supported(connection)?;
    let is_loading = info.flag("loading");
    let time = reply::time(next().map_err(explain)?)?;
    let (bank_id, committed_at) = match meta_key.map(|_| next()) {
        None => (None, Value::Null),
        Some(Err(_)) if is_loading => (Some(String::new()), Value::Null),
        Some(Err(error)) if connection.is_moving(&error) => (None, Value::Null),
        Some(meta) => {
            let [bank_id, committed_at] = reply::pair(meta.map_err(explain)?)?;
            (Some(bank_id.into_string().unwrap_or_default()), committed_at)
        }
    };
    let is_primary = info.value("role") == Some("master");
    if is_primary {
        options.clock.compare(asked_at, time);
    }
    let settings = if options.check_config {
        match next() {
            Ok(settings) => Some(Ok(settings.convert().map_err(|_| reply::unexpected("the settings"))?)),
            Err(error) if matches!(reply_code(&error), Some("ERR" | "NOPERM")) => {
                Some(Err(error.details().to_owned()))
            }
            Err(error) => return Err(explain(error)),
        }
    } else {
        None
    };
    Ok(Inspection {
        run_id: info.value("run_id").unwrap_or_default().to_owned(),
        is_primary,
        is_loading,
        bank_id,
        time,
        committed_at: committed_at.as_str().and_then(|text| reply::unix_ms(&text)),
        replicas: info.replicas(),
        is_rewriting: info.flag("aof_rewrite_in_progress")
            || info.flag("aof_rewrite_scheduled")
            || info.value("aof_last_bgrewrite_status") == Some("err"),
        settings,
    })
}

/// Refuses a server that cannot hold a bank. Asked on its own, since older ones do not understand all of an
/// [`inspect`].
pub(super) async fn require_supported(connection: &Connection) -> Result<(), StoreError> {
    let info = connection.send(command("INFO", ["server"])).await?;
    Info(reply::text(info)?).require_supported(connection)
}

/// The command by which a connection shows that Redis responds, and could write: a Redis that refuses writes answers it with
/// `MISCONF`.
pub(super) fn ping() -> Command {
    command("PING", [(); 0])
}

impl Inspection {
    /// # Errors
    /// Why it cannot be used, if it is not a primary, or not ready.
    pub(super) fn require_usable(&self) -> Result<(), &'static str> {
        if self.is_loading {
            return Err("Redis is still reading its files");
        }
        if !self.is_primary {
            return Err(
                "this Redis is a replica, not the primary: use the address of the primary, or of its Sentinels",
            );
        }
        Ok(())
    }

    /// A setting, if it is known.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let settings = self.settings.as_ref()?.as_ref().ok()?;
        settings.get(name).map(String::as_str)
    }

    /// How soon the cluster replaces this node, if it is one and says so.
    pub(super) fn node_timeout_ms(&self) -> Option<u64> {
        self.setting(NODE_TIMEOUT)?.parse().ok()
    }

    /// Whether it has an append-only file, as far as is known.
    pub(super) fn has_file(&self) -> bool {
        let Some(Ok(settings)) = &self.settings else { return true };
        settings.get("appendonly").is_some_and(|value| value == "yes")
    }
}

/// The reply to `INFO`: lines of `name:value`.
pub(super) struct Info(pub(super) String);

impl Info {
    fn require_supported(&self, connection: &Connection) -> Result<(), StoreError> {
        self.require_supported_at(connection.address(), connection.target().is_cluster())
    }

    pub(super) fn require_supported_at(&self, address: &str, is_node: bool) -> Result<(), StoreError> {
        // Valkey reports the Redis that it is compatible with: 7.2.
        let compatible = self.value("redis_version").unwrap_or("unknown");
        let major = compatible.split('.').next().and_then(|major| major.parse::<u32>().ok());
        // Valkey calls it `server_mode`.
        let wrong = match self.value("redis_mode").or_else(|| self.value("server_mode")) {
            Some("cluster") if !is_node => {
                format!("is a node of a Redis Cluster; set store.redis.url to redis-cluster://{address}")
            }
            Some("standalone") if is_node => {
                format!("is not a node of a Redis Cluster; set store.redis.url to redis://{address}")
            }
            Some("sentinel") => format!(
                "is a Sentinel; set store.redis.url to redis-sentinel://{address}?sentinelServiceName=name, with the \
                 name of the primary that it watches"
            ),
            _ if major.is_none_or(|major| major < REDIS_MAJOR_MIN) => {
                format!("has version {compatible}; the bank needs Redis 7.0 or newer, or Valkey")
            }
            // It tells one start of a server from another: without it a failover, or a restart that lost writes,
            // would go unnoticed.
            _ if self.value("run_id").is_none_or(str::is_empty) => {
                "does not report its run_id in INFO, so restarts and failovers would not be noticed; the bank needs \
                 Redis 7.0 or newer, or Valkey"
                    .to_owned()
            }
            _ => return Ok(()),
        };
        Err(StoreError::Misconfigured(format!("Redis at {address} {wrong}")))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "0")
    }

    /// Counts lines like `slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0`.
    fn replicas(&self) -> u32 {
        let is_online = |line: &&str| {
            let rest = line.strip_prefix("slave").unwrap_or_default();
            rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains(",state=online,")
        };
        u32::try_from(self.0.lines().filter(is_online).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
