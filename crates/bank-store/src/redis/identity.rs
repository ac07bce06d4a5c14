//! Is this a Redis that can hold a bank, and is it ours?

use std::{
    collections::HashMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use fred::{
    cmd,
    interfaces::{ClientLike as _, HashesInterface as _},
    types::{InfoKind, Value},
};
use uuid::Uuid;

use super::{
    connection::{Connection, reply_code},
    keys::Keys,
};
use crate::StoreError;

/// The layout of keys and fields that this version reads and writes.
const LAYOUT: &str = "1";

/// How many windows of request records a commit looks at, at most.
const WINDOWS_MAX: u64 = 31;

/// How far the clocks of a server and of its Redis may be apart.
const CLOCK_SKEW_SECONDS_MAX: u64 = 60;

/// What Redis does to keep what it has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// There is no append-only file.
    None,
    /// The append-only file is synced as this says: `always`, `everysec`, `no`.
    AppendOnlyFile {
        /// Redis's own setting, `appendfsync`.
        sync: String,
    },
    /// Redis was not asked.
    Unchecked,
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(
                "a restart of redis loses what was acknowledged since its last snapshot; set appendonly yes",
            ),
            Self::AppendOnlyFile { sync } if sync == "always" => {
                f.write_str("what is acknowledged is on redis's disk")
            }
            Self::AppendOnlyFile { sync } if sync == "everysec" => f.write_str(
                "a crash of redis's machine loses up to the last two seconds; set appendfsync always to lose none",
            ),
            Self::AppendOnlyFile { sync } => write!(
                f,
                "a crash of redis's machine loses what its system had not written yet (appendfsync {sync})"
            ),
            Self::Unchecked => f.write_str("as redis is set up; it was not asked (store.redis.check_config)"),
        }
    }
}

pub(super) async fn require_version(connection: &Connection) -> Result<(), StoreError> {
    let info: String = connection.run(connection.client().info(Some(InfoKind::Server))).await?;
    let version =
        info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "redis at {} is of version {version}; 7.0 or newer is needed",
        connection.address()
    )))
}

/// Asks what Redis promises, and refuses one that may throw accounts away.
pub(super) async fn persistence(connection: &Connection, check: bool) -> Result<Persistence, StoreError> {
    if !check {
        return Ok(Persistence::Unchecked);
    }
    let setting = async |name: &str| -> Result<String, StoreError> {
        let command = connection.client().custom(cmd!("CONFIG"), vec!["GET", name]);
        match command.await {
            Ok(answer) => {
                let answer: HashMap<String, String> = answer;
                Ok(answer.into_values().next().unwrap_or_default())
            }
            Err(error) if matches!(reply_code(&error), Some("ERR" | "NOPERM")) => {
                Err(StoreError::Misconfigured(format!(
                    "redis at {} does not tell its settings ({}); make sure that maxmemory-policy is \
                     noeviction, then set store.redis.check_config = false",
                    connection.address(),
                    error.details()
                )))
            }
            Err(error) => Err(connection.explain(&error)),
        }
    };
    let policy = setting("maxmemory-policy").await?;
    if policy != "noeviction" {
        return Err(StoreError::Misconfigured(format!(
            "redis at {} has maxmemory-policy {policy}, which throws accounts away when memory runs out; \
             set it to noeviction",
            connection.address()
        )));
    }
    if setting("appendonly").await? != "yes" {
        return Ok(Persistence::None);
    }
    Ok(Persistence::AppendOnlyFile { sync: setting("appendfsync").await? })
}

/// Founds the bank where there is none; else makes sure that it is laid out as this server expects.
/// Returns how long its windows of request records are, in seconds: as long as records were kept
/// when it was founded.
pub(super) async fn found_or_join(
    connection: &Connection,
    keys: &Keys,
    request_retention_seconds: u64,
) -> Result<u64, StoreError> {
    let client = connection.client();
    let meta = keys.meta();
    let wanted = [
        ("bank_id", Uuid::new_v4().to_string()),
        ("layout", LAYOUT.to_owned()),
        ("partitions", keys.partitions().to_string()),
        ("request_window_seconds", request_retention_seconds.to_string()),
    ];
    for (field, value) in &wanted {
        // Servers that start at once agree: the first one to set a field wins.
        connection.run(client.hsetnx::<(), _, _, _>(&meta, *field, value.as_str())).await?;
    }
    let found: HashMap<String, String> = connection.run(client.hgetall(&meta)).await?;
    let of = |field: &str| found.get(field).map_or("", String::as_str);
    if of("layout") != LAYOUT {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} has layout {:?}, this server reads {LAYOUT:?}; use the version of the \
             server that wrote it",
            connection.address(),
            of("layout"),
        )));
    }
    if of("partitions") != keys.partitions().to_string() {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} has {} partitions, store.partitions is {}; set it to what the \
             bank has",
            connection.address(),
            of("partitions"),
            keys.partitions(),
        )));
    }
    let window_seconds = of("request_window_seconds").parse().ok().filter(|seconds| *seconds > 0);
    let Some(window_seconds) = window_seconds else {
        return Err(StoreError::Corrupt(format!("{meta}: field \"request_window_seconds\" is malformed")));
    };
    if request_retention_seconds / window_seconds > WINDOWS_MAX {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} keeps request records in windows of {window_seconds} s, and every commit \
             looks at each; ledger.request_retention_seconds can be {} at most",
            connection.address(),
            window_seconds * WINDOWS_MAX,
        )));
    }
    Ok(window_seconds)
}

/// Refuses a Redis whose clock and this machine's differ by much: histories carry the time of the
/// server that wrote them, and one that is far ahead takes its accounts there for good.
pub(super) async fn require_same_time(connection: &Connection) -> Result<(), StoreError> {
    let time: Vec<i64> =
        connection.run(connection.client().custom(cmd!("TIME"), Vec::<Value>::new())).await?;
    let theirs = time.first().copied().unwrap_or_default();
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let apart = theirs.abs_diff(i64::try_from(ours).unwrap_or(i64::MAX));
    if apart > CLOCK_SKEW_SECONDS_MAX {
        return Err(StoreError::Misconfigured(format!(
            "the clocks of this machine and of redis at {} are {apart} s apart; at most \
             {CLOCK_SKEW_SECONDS_MAX} s are allowed: set them by NTP",
            connection.address()
        )));
    }
    Ok(())
}
