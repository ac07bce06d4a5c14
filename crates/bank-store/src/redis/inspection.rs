//! What a Redis is, holds and promises, as it says itself.

use std::collections::HashMap;

use bank_domain::Timestamp;
use fred::{
    cmd,
    error::Error as FredError,
    interfaces::{ClientLike as _, HashesInterface as _},
    types::Value,
};

use super::{RedisOptions, connection::Connection, errors::reply_code, keys::Keys, reply};
use crate::StoreError;

/// The oldest Redis that can hold a bank.
const REDIS_MAJOR_MIN: u32 = 7;

/// The settings that a promise depends on.
const SETTINGS: [&str; 4] = ["appendfsync", "appendonly", "maxmemory-policy", "no-appendfsync-on-rewrite"];

/// One look at a Redis.
#[derive(Clone, Debug)]
pub(super) struct Inspection {
    /// Another one for each start of a Redis.
    pub(super) run_id: String,
    pub(super) is_primary: bool,
    /// Whether it is still reading its files.
    pub(super) is_loading: bool,
    /// Of the bank that it holds; empty where there is none.
    pub(super) bank_id: String,
    /// What time it is there.
    pub(super) time: Timestamp,
    /// What time it was there at the newest commit, within a second.
    pub(super) committed_at: Option<Timestamp>,
    /// How many replicas follow it.
    pub(super) replicas: u32,
    /// Whether its append-only file is being written anew, or could not be.
    pub(super) is_rewriting: bool,
    pub(super) settings: Settings,
}

/// What it says about its settings.
#[derive(Clone, Debug)]
pub(super) enum Settings {
    /// It was not asked.
    NotAsked,
    /// It does not tell, for this reason.
    Hidden(String),
    /// As it has them.
    Told(HashMap<String, String>),
}

/// Looks at a Redis, in one round trip, and holds the clock against that of Redis.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if it does not answer; another if it answers with an error.
pub(super) async fn inspect(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<Inspection, StoreError> {
    let RedisOptions { ref clock, check_config, .. } = *options;
    let pipeline = connection.pipeline();
    let queued = async {
        pipeline.custom::<(), _>(cmd!("INFO"), vec!["server", "replication", "persistence"]).await?;
        pipeline.custom::<(), Value>(cmd!("TIME"), Vec::new()).await?;
        pipeline.hmget::<(), _, _>(keys.meta(), vec!["bank_id", "committed_at"]).await?;
        if check_config {
            pipeline.custom::<(), _>(cmd!("CONFIG"), [&["GET"], SETTINGS.as_slice()].concat()).await?;
        }
        Ok::<_, FredError>(())
    };
    queued.await.map_err(|error| connection.explain(&error))?;

    let asked_at = clock.steady();
    let answers: Vec<Result<Value, FredError>> = connection.attempt_at_once(pipeline.try_all()).await?;
    let mut answers = answers.into_iter();
    let mut next = || {
        let missing = || Err(FredError::new(fred::error::ErrorKind::Protocol, "half an answer"));
        answers.next().unwrap_or_else(missing)
    };
    let info = next().map_err(|error| connection.explain(&error))?;
    let info = Info(reply::text(info)?);
    info.require_supported(connection.address())?;
    let is_loading = info.flag("loading");
    let time = reply::told_time(next().map_err(|error| connection.explain(&error))?)?;
    let [bank_id, committed_at] = match next() {
        Err(_) if is_loading => [Value::Null, Value::Null],
        answer => reply::pair(answer.map_err(|error| connection.explain(&error))?)?,
    };
    let is_primary = info.value("role") == Some("master");
    if is_primary {
        clock.compare(asked_at, time);
    }
    let settings = if check_config { settings(connection, next())? } else { Settings::NotAsked };
    Ok(Inspection {
        run_id: info.value("run_id").unwrap_or_default().to_owned(),
        is_primary,
        is_loading,
        bank_id: bank_id.into_string().unwrap_or_default(),
        time,
        committed_at: committed_at.as_str().and_then(|text| reply::time(&text)),
        replicas: info.replicas(),
        is_rewriting: info.flag("aof_rewrite_in_progress")
            || info.flag("aof_rewrite_scheduled")
            || info.value("aof_last_bgrewrite_status") == Some("err"),
        settings,
    })
}

impl Inspection {
    /// Whether it has an append-only file, as far as it says.
    pub(super) fn has_file(&self) -> bool {
        match &self.settings {
            Settings::NotAsked | Settings::Hidden(_) => true,
            Settings::Told(settings) => settings.get("appendonly").is_some_and(|value| value == "yes"),
        }
    }
}

fn settings(connection: &Connection, answer: Result<Value, FredError>) -> Result<Settings, StoreError> {
    match answer {
        Ok(told) => match told.convert() {
            Ok(settings) => Ok(Settings::Told(settings)),
            Err(_) => Err(reply::unexpected("redis answered something else than settings")),
        },
        Err(error) if matches!(reply_code(&error), Some("ERR" | "NOPERM")) => {
            Ok(Settings::Hidden(error.details().to_owned()))
        }
        Err(error) => Err(connection.explain(&error)),
    }
}

/// What `INFO` answers: lines of `name:value`.
pub(super) struct Info(pub(super) String);

impl Info {
    /// Refuses what is no Redis or Valkey that can hold a bank, and says what it is.
    pub(super) fn require_supported(&self, address: &str) -> Result<(), StoreError> {
        let refuse = |what: &str| Err(StoreError::Misconfigured(format!("redis at {address} {what}")));
        let (product, version) = self.product();
        // Valkey calls it `server_mode`.
        match self.value("redis_mode").or_else(|| self.value("server_mode")) {
            Some("cluster") => {
                return refuse(
                    "is a node of a Redis Cluster, which is not supported yet; use a stand-alone server, or \
                     Sentinel",
                );
            }
            Some("sentinel") => {
                return refuse(&format!(
                    "is a Sentinel; set store.redis.url to redis-sentinel://{address}?sentinelServiceName=name, with \
                     the name of the primary that it watches"
                ));
            }
            _ => {}
        }
        // Valkey says with which Redis it is compatible: 7.2.
        let compatible = self.value("redis_version").unwrap_or("unknown");
        let major = compatible.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < REDIS_MAJOR_MIN) {
            return refuse(&format!("is of version {compatible}; Redis 7.0 or newer, or Valkey, is needed"));
        }
        // Which tells one start of a server from another: without it a failover, or a restart that lost
        // writes, would go unnoticed.
        if self.value("run_id").is_none_or(str::is_empty) {
            return refuse(&format!(
                "({product} {version}) does not tell its run_id in INFO, so restarts and failovers would not \
                 be noticed; Redis 7.0 or newer, or Valkey, is needed"
            ));
        }
        Ok(())
    }

    /// What it calls itself, and its version. Those that only speak like Redis name their own version
    /// beside that of the Redis they are compatible with.
    fn product(&self) -> (&str, &str) {
        let versions = self.0.lines().filter_map(|line| {
            let (name, version) = line.trim().split_once(':')?;
            Some((name.strip_suffix("_version")?, version))
        });
        let mut others = versions.filter(|(name, _)| !matches!(*name, "redis" | "gcc" | "clang"));
        others.next().unwrap_or(("redis", self.value("redis_version").unwrap_or("unknown")))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "0")
    }

    /// `slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0`
    fn replicas(&self) -> u32 {
        let is_online = |line: &str| {
            let rest = line.strip_prefix("slave").unwrap_or_default();
            rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains(",state=online,")
        };
        u32::try_from(self.0.lines().filter(|line| is_online(line)).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_named() {
        const RUN: &str = "run_id:a5e7a08f16491b5166ce1613196da5f42430b999\r\n";
        for (info, hints) in [
            (
                format!("redis_version:7.0.15\r\nredis_mode:standalone\r\ngcc_version:12.2.0\r\n{RUN}"),
                &[][..],
            ),
            (format!("redis_version:8.2.3\r\nredis_mode:standalone\r\n{RUN}"), &[]),
            (
                format!(
                    "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n\
                     server_mode:standalone\r\n{RUN}"
                ),
                &[],
            ),
            (
                format!("redis_version:7.0.15\r\nredis_mode:cluster\r\n{RUN}"),
                &["Redis Cluster", "not supported yet"],
            ),
            (
                format!("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nserver_mode:cluster\r\n{RUN}"),
                &["Cluster"],
            ),
            (
                format!("redis_version:8.2.3\r\nredis_mode:sentinel\r\n{RUN}"),
                &["redis-sentinel://a:1?sentinelServiceName"],
            ),
            (format!("redis_version:7.2.4\r\nserver_mode:sentinel\r\n{RUN}"), &["is a Sentinel"]),
            (format!("redis_version:6.2.14\r\nredis_mode:standalone\r\n{RUN}"), &["6.2.14", "7.0"]),
            ("redis_version:7.4.0\r\nredis_mode:standalone\r\n".to_owned(), &["redis 7.4.0", "run_id"]),
            (
                "redis_version:7.4.0\r\nlikeness_version:v1.21.2\r\nredis_mode:standalone\r\nrun_id:\r\n"
                    .to_owned(),
                &["likeness v1.21.2", "run_id", "Valkey"],
            ),
            (String::new(), &["version unknown"]),
        ] {
            let told = Info(info.clone()).require_supported("a:1");
            assert_eq!(told.is_ok(), hints.is_empty(), "{info}: {told:?}");
            let message = told.err().map(|error| error.to_string()).unwrap_or_default();
            for hint in hints {
                assert!(message.contains(hint), "{message:?} does not say {hint:?}");
            }
        }
    }

    #[test]
    fn what_info_answers_is_read() {
        let info = Info(
            "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
             slave0:ip=127.0.0.1,port=1,state=online,offset=14,lag=0\r\n\
             slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n\
             slave2:ip=127.0.0.1,port=3,state=online,offset=14,lag=1\r\n\
             slave_read_only:1\r\nloading:0\r\nasync_loading:1\r\n"
                .to_owned(),
        );
        assert_eq!((info.value("role"), info.value("rol"), info.replicas()), (Some("master"), None, 2));
        assert_eq!(
            (info.flag("loading"), info.flag("async_loading"), info.flag("none")),
            (false, true, false)
        );
    }
}
