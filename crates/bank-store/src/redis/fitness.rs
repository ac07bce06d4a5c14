//! Compares a Redis with what the options require: what it has, and what to do about it.

use std::fmt;

use bank_domain::Timestamp;

use super::{
    inspection::{ALLOW_READS_WHEN_DOWN, Inspection, NODE_TIMEOUT},
    keys::IMPORT_MARK,
    lease::silence_min,
    options::RedisOptions,
};
use crate::{Durability, DurabilityLevel, backup::MARKED};

/// A requirement that a Redis does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// What it has and what is required. Callers may see it: it does not name the address of Redis.
    pub(super) found: String,
    /// What an operator can do.
    pub(super) remedy: String,
    /// Whether it may pass without a change.
    pub(super) may_pass: bool,
    /// Whether Redis holds another bank or none, so that reads fail too.
    pub(super) is_other_bank: bool,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.found, self.remedy)
    }
}

impl Shortfall {
    /// One that lasts until an operator changes something.
    fn lasting(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: remedy.into(), may_pass: false, is_other_bank: false }
    }

    fn passing(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { may_pass: true, ..Self::lasting(found, remedy) }
    }
}

/// The first requirement that a Redis does not meet, if any.
///
/// `has_proof` is whether the append-only file of this very Redis has been seen at rest: after
/// `CONFIG SET appendonly yes` nothing is durable until the file has been written for the first time, and
/// nothing that Redis reports tells that from any other rewrite.
pub(super) fn shortfall(options: &RedisOptions, redis: &Inspection, has_proof: bool) -> Option<Shortfall> {
    let settings = match &redis.settings {
        None => None,
        Some(Err(reason)) => Some(hidden_settings(options, reason)),
        Some(Ok(settings)) => {
            let value = |name: &str| settings.get(name).map_or("", String::as_str);
            evicting(value("maxmemory-policy"))
                .or_else(|| too_little_durability(options, &value))
                .or_else(|| unsafe_cluster(options, &value))
        }
    };
    let clock = || {
        let committed_at = redis.committed_at?;
        committed_at.is_ahead_of(redis.time, options.clock.offset_max()).then(|| clock_behind(committed_at))
    };
    let file = || {
        let is_needed = options.durability > DurabilityLevel::None && options.check_config;
        (is_needed && redis.is_rewriting && !has_proof).then(|| {
            Shortfall::passing(
                "Redis is rewriting its append-only file, perhaps for the first time; nothing is durable until that \
                 has finished",
                "wait for it; if it fails, the log of Redis says why",
            )
        })
    };
    let replicas = || {
        let RedisOptions { replicas: required, .. } = *options;
        (redis.replicas < required).then(|| {
            Shortfall::passing(
                format!(
                    "Redis has {} replicas in sync, but store.redis.replicas = {required}",
                    redis.replicas
                ),
                "start more with REPLICAOF, or lower store.redis.replicas",
            )
        })
    };
    settings.or_else(clock).or_else(file).or_else(replicas)
}

fn hidden_settings(options: &RedisOptions, reason: &str) -> Shortfall {
    Shortfall::lasting(
        format!("Redis does not show its settings ({reason})"),
        format!(
            "make sure that maxmemory-policy is noeviction and that Redis is as durable as \
             store.redis.durability = \"{}\" requires, then set store.redis.check_config = false",
            options.durability
        ),
    )
}

fn evicting(policy: &str) -> Option<Shortfall> {
    (policy != "noeviction").then(|| {
        Shortfall::lasting(
            format!("Redis has maxmemory-policy {policy}, which deletes accounts when memory runs out"),
            format!("run {} and `redis-cli CONFIG REWRITE`", config_set("maxmemory-policy", "noeviction")),
        )
    })
}

fn too_little_durability<'a>(options: &RedisOptions, value: &dyn Fn(&str) -> &'a str) -> Option<Shortfall> {
    // More than required is fine.
    let sync = match options.durability {
        DurabilityLevel::None => return None,
        DurabilityLevel::EverySecond => &["everysec", "always"][..],
        DurabilityLevel::Always => &["always"],
    };
    let required = [
        ("appendfsync", sync),
        // Otherwise the file is not synced at all during a rewrite.
        ("no-appendfsync-on-rewrite", &["no"]),
        ("appendonly", &["yes"]),
    ];
    let wrong: Vec<_> = required.iter().filter(|(name, allowed)| !allowed.contains(&value(name))).collect();
    if wrong.is_empty() {
        return None;
    }
    let is_synced = wrong.iter().all(|(name, _)| *name == "appendfsync");
    let given = match value("appendfsync") {
        "everysec" if is_synced => DurabilityLevel::EverySecond,
        _ => DurabilityLevel::None,
    };
    let each = |text: &dyn Fn(&str, &str) -> String| {
        wrong.iter().map(|(name, allowed)| text(name, allowed[0])).collect::<Vec<_>>().join(" and ")
    };
    Some(Shortfall::lasting(
        format!(
            "Redis has {}, but store.redis.durability = \"{}\" requires {}",
            each(&|name, _| format!("{name} {}", value(name))),
            options.durability,
            each(&|name, required| format!("{name} {required}")),
        ),
        format!(
            "run {} and `redis-cli CONFIG REWRITE`, or settle for less with store.redis.durability = \"{given}\"",
            each(&config_set),
        ),
    ))
}

/// What a cluster may not do, if this is a node of one: replace a primary before the bank has noticed that it is silent, or give reads on a node that
/// has lost the others.
fn unsafe_cluster<'a>(options: &RedisOptions, value: &dyn Fn(&str) -> &'a str) -> Option<Shortfall> {
    let needed_ms = silence_min(options).as_millis();
    let timeout_ms = value(NODE_TIMEOUT);
    if timeout_ms.parse().is_ok_and(|timeout_ms: u128| timeout_ms < needed_ms) {
        return Some(Shortfall::lasting(
            format!(
                "Redis Cluster replaces a primary once it is silent for {timeout_ms} ms ({NODE_TIMEOUT}); \
                 store.redis.command_timeout_ms = {} with store.redis.watchdog_interval_ms = {} needs at least \
                 {needed_ms} ms, or a primary that was frozen could acknowledge writes that are lost",
                options.command_timeout.as_millis(),
                options.watchdog_interval.as_millis(),
            ),
            format!(
                "run {} and `redis-cli CONFIG REWRITE` on each node, or lower those settings",
                config_set(NODE_TIMEOUT, &needed_ms.to_string())
            ),
        ));
    }
    (value(ALLOW_READS_WHEN_DOWN) == "yes").then(|| {
        Shortfall::lasting(
            format!(
                "Redis has {ALLOW_READS_WHEN_DOWN} yes, so that a node without the others gives old balances"
            ),
            format!(
                "run {} and `redis-cli CONFIG REWRITE` on each node",
                config_set(ALLOW_READS_WHEN_DOWN, "no")
            ),
        )
    })
}

fn config_set(name: &str, value: &str) -> String {
    format!("`redis-cli CONFIG SET {name} {value}`")
}

/// The shortfall of a Redis whose clock is behind that of the newest commit.
pub(super) fn clock_behind(committed_at: Timestamp) -> Shortfall {
    Shortfall::lasting(
        format!("the clock of Redis is behind {committed_at}, the time of the newest commit"),
        "set the clock of its machine; if that is right, and was wrong at the newest commit, read docs/clocks.md before \
         you start a server with clock.entries_ahead_allowed = true",
    )
}

/// The shortfall of a Redis that holds another bank than it should, or none.
pub(super) fn other_bank(found: &str, expected: &str) -> Shortfall {
    let shortfall = if found.starts_with(IMPORT_MARK) {
        Shortfall::lasting(MARKED, "import the file again, or an empty one to give up")
    } else if found.is_empty() {
        Shortfall::lasting(
            format!("the bank {expected} is missing: Redis holds no bank"),
            "restore its data, or restart the server to initialize another bank",
        )
    } else {
        Shortfall::lasting(
            format!("Redis holds the bank {found} instead of {expected}"),
            "restore the data of the right one, or restart the server to use the other one",
        )
    };
    Shortfall { is_other_bank: true, ..shortfall }
}

/// What is promised where all requirements are met.
pub(super) fn promise(options: &RedisOptions) -> Durability {
    let RedisOptions { durability: level, replicas, check_config, .. } = *options;
    let disk = match level {
        DurabilityLevel::Always => "every acknowledged write is on the disk of Redis",
        DurabilityLevel::EverySecond => {
            "a crash of the Redis machine loses up to two seconds of acknowledged writes"
        }
        DurabilityLevel::None => "a restart of Redis loses the writes acknowledged since its last snapshot",
    };
    let copies = match replicas {
        0 => String::new(),
        1 => ", and in the memory of one replica".to_owned(),
        replicas => format!(", and in the memory of {replicas} replicas"),
    };
    let caveat = if check_config { "" } else { "; this is not checked, as store.redis.check_config = false" };
    Durability { level, replicas, description: format!("{disk}{copies}{caveat}") }
}

#[cfg(test)]
mod tests;
