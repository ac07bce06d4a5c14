//! How to reach Redis, and within which bounds.

use std::{fmt, time::Duration};

use bank_domain::redacted;

use crate::{DurabilityLevel, StoreError, clock::Timekeeper, partition::PARTITIONS_DEFAULT};

/// What a [`RedisStore`](super::RedisStore) is opened with.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]`, `rediss://` for TLS, or
    /// `redis-sentinel://host:port?node=host:port&sentinelServiceName=name`.
    pub url: RedisUrl,
    /// What every key begins with; two banks on one Redis differ in it.
    pub key_prefix: String,
    /// How many partitions the accounts are spread over. Fixed when the bank is founded.
    pub partitions: u32,
    /// How long request records are kept at least.
    pub request_retention: Duration,
    /// How long to try to connect at start, and each time after a connection was lost.
    pub connect_timeout: Duration,
    /// How long Redis has for one command.
    pub command_timeout: Duration,
    /// The pause before the first try to connect anew; it doubles with each.
    pub reconnect_delay_min: Duration,
    /// The longest pause between two tries to connect anew.
    pub reconnect_delay_max: Duration,
    /// How many commands wait for the connection at most.
    pub command_buffer_max: usize,
    /// The pause between two looks at Redis: whether it answers, and is still fit for the bank.
    pub watchdog_interval: Duration,
    /// How firmly Redis must keep what it acknowledges.
    pub durability: DurabilityLevel,
    /// How many replicas must have a commit before it is acknowledged.
    pub replicas: u32,
    /// How long they have for that; less than `command_timeout`.
    pub replicas_timeout: Duration,
    /// The only bank to join, by its id; none is founded then.
    pub bank_id: Option<String>,
    /// Whether `CONFIG GET` is asked what Redis promises. Managed servers may hide it.
    pub check_config: bool,
    /// What the store goes by for the time. It is held against the clock of Redis.
    pub clock: Timekeeper,
    /// Whether to use a bank that was last changed at a time which is yet to come: the clock was wrong then, and is
    /// right now.
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
    /// Whole seconds, and no fewer than were asked for.
    pub(super) fn request_retention_seconds(&self) -> u64 {
        let retention = self.request_retention;
        retention.as_secs() + u64::from(retention.subsec_nanos() > 0)
    }

    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let refuse = |what: &str| Err(StoreError::Misconfigured(what.to_owned()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        if self.key_prefix.is_empty() || !self.key_prefix.bytes().all(plain) {
            return refuse("store.redis.key_prefix must be of A-Z a-z 0-9 . _ : - and not empty");
        }
        if self.request_retention < Duration::from_secs(1) {
            return refuse("ledger.request_retention_seconds must be at least 1");
        }
        // Else a commit that waits for replicas looks like a Redis that does not answer.
        if self.replicas > 0 && self.replicas_timeout >= self.command_timeout {
            return refuse(
                "store.redis.replicas_timeout_ms must be less than store.redis.command_timeout_ms",
            );
        }
        Ok(())
    }
}

/// Where Redis is, with the password that it may take. It prints without it ([`redacted`]).
#[derive(Clone)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, password and all.
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
mod tests {
    use super::*;

    #[test]
    fn urls_print_without_their_passwords() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://user:s3cret@host:1/2", "redis://[redacted]@host:1/2"),
            ("redis://:s3?cret@host:1", "redis://[redacted]"),
            ("redis-sentinel://u:s3cret@a:1?sentinelPassword=s3@cret", "redis-sentinel://[redacted]"),
        ] {
            let url = RedisUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
        }
    }
}
