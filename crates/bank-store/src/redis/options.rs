//! Where Redis is, and the limits to use it within.

use std::{fmt, time::Duration};

use bank_domain::redacted;
use serde::Deserialize;

use crate::{
    DurabilityLevel, StoreError,
    clock::Timekeeper,
    placement::{PARTITIONS_DEFAULT, Placement},
};

/// Options of a [`RedisStore`](super::RedisStore).
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]`, `rediss://` for TLS,
    /// `redis-sentinel://host:port?node=host:port&sentinelServiceName=name`, or
    /// `redis-cluster://host:port?node=host:port`.
    pub url: RedisUrl,
    /// The prefix of every key. Banks that share a Redis need different ones.
    pub key_prefix: String,
    /// How many partitions the accounts are spread over. Fixed when the bank is initialized.
    pub partitions: u32,
    /// The minimum time to keep request records.
    pub request_retention: Duration,
    /// How long to try to connect, at start and at each reconnect.
    pub connect_timeout: Duration,
    /// The timeout of one command.
    pub command_timeout: Duration,
    /// The delay before the first attempt to reconnect; it doubles with each attempt.
    pub reconnect_delay_min: Duration,
    /// The longest delay between two attempts to reconnect.
    pub reconnect_delay_max: Duration,
    /// How long a command is sent again while a cluster sends it elsewhere or says to wait, as it does while it moves a slot.
    pub redirect_timeout: Duration,
    /// How many commands may be in flight on a connection.
    pub command_buffer_max: usize,
    /// The interval between two checks that Redis responds and still meets the bank's requirements.
    pub watchdog_interval: Duration,
    /// How durable Redis must make acknowledged writes.
    pub durability: DurabilityLevel,
    /// How many replicas must have a commit before it is acknowledged.
    pub replicas: u32,
    /// The timeout for that; less than `command_timeout`.
    pub replicas_timeout: Duration,
    /// The id of the only bank to use; none is initialized if it is set.
    pub bank_id: Option<String>,
    /// Whether to check Redis's settings with `CONFIG GET`. Managed services may disable it.
    pub check_config: bool,
    /// The clock of the store. It is compared with the clock of Redis.
    pub clock: Timekeeper,
    /// Whether to use a bank whose newest commit is in the future: the clock was wrong then, and is right now.
    pub entries_ahead_allowed: bool,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: RedisUrl::new("redis://127.0.0.1:6379"),
            key_prefix: "bank".to_owned(),
            partitions: PARTITIONS_DEFAULT,
            request_retention: Duration::from_hours(24),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(2),
            reconnect_delay_min: Duration::from_millis(50),
            reconnect_delay_max: Duration::from_secs(2),
            redirect_timeout: Duration::from_secs(5),
            command_buffer_max: 10_000,
            watchdog_interval: Duration::from_secs(1),
            durability: DurabilityLevel::Always,
            replicas: 0,
            replicas_timeout: Duration::from_secs(1),
            bank_id: None,
            check_config: true,
            clock: Timekeeper::default(),
            entries_ahead_allowed: false,
        }
    }
}

impl RedisOptions {
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        Placement::try_new(self.partitions)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let wrong = if self.key_prefix.is_empty() || !self.key_prefix.bytes().all(is_allowed) {
            "store.redis.key_prefix must not be empty, and may contain A-Z a-z 0-9 . _ : -"
        } else if self.request_retention < Duration::from_secs(1) {
            "ledger.request_retention_seconds must be at least 1"
        } else if self.replicas > 0 && self.replicas_timeout >= self.command_timeout {
            // Otherwise a commit that waits for replicas looks like a Redis that does not respond.
            "replicas_timeout must be less than command_timeout"
        } else {
            return Ok(());
        };
        Err(StoreError::Misconfigured(wrong.to_owned()))
    }
}

/// A URL of Redis, perhaps with a password. It prints without it ([`redacted`]).
#[derive(Clone, Deserialize)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, including the password.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests;
