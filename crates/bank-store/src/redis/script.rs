//! Runs `commit.lua`.

use fred::types::Value;

use super::{
    commit::Call,
    connection::{Command, Connection, command},
    errors::reply_code,
    keys::Keys,
    options::RedisOptions,
    records, reply,
    shards::{Answer, Answered, Common},
};
use crate::{StoreError, identity::Retention};

/// Redis runs it by the digest of this text, so servers of two versions run their own.
const SOURCE: &str = include_str!("commit.lua");

/// Removes request records that have expired.
const EXPIRE: &str = include_str!("expire.lua");

/// The script as Redis knows it.
pub(super) struct Script {
    /// The name that Redis gives it.
    pub(super) digest: String,
    pub(super) retention: Retention,
}

impl Script {
    /// Loads it into Redis; returns its digest.
    pub(super) async fn load(connection: &Connection) -> Result<String, StoreError> {
        reply::text(connection.send(command("SCRIPT", ["LOAD", SOURCE])).await?)
    }

    /// The command that runs it now.
    pub(super) fn command(&self, common: &Common, call: &Call) -> Result<Command, StoreError> {
        let Common { options, keys, bank_id, .. } = common;
        let RedisOptions { clock, replicas, command_timeout, .. } = &**options;
        let sent_at = clock.now().map_err(|_| clocks_apart())?;
        let windows =
            records::possible_windows(self.retention, sent_at, clock.offset_max(), *command_timeout);
        let windows_count = windows.clone().count();
        let keys_count = call.keys.len() + call.partitions.len() * (1 + windows_count);
        let mut arguments = Vec::with_capacity(keys_count + 13);
        arguments.extend([Value::from(self.digest.as_str()), Value::from(keys_count.to_string())]);
        arguments.extend(call.keys.iter().cloned());
        for partition in &call.partitions {
            arguments.push(keys.windows(*partition).into());
            arguments.extend(windows.clone().map(|window| keys.requests(*partition, window).into()));
        }
        arguments.extend([
            Value::from(self.retention.seconds.to_string()),
            Value::from(self.retention.window_seconds.to_string()),
            Value::from(bank_id.as_str()),
            Value::from(if *replicas > 0 { "1" } else { "0" }),
            Value::from(sent_at.unix_ms().to_string()),
            Value::from(call.decided_at.unix_ms().to_string()),
            Value::from(clock.offset_max().as_millis().to_string()),
            Value::from(command_timeout.as_millis().to_string()),
            Value::from(windows.start().to_string()),
            Value::from(windows_count.to_string()),
            call.payload.clone(),
        ]);
        Ok(command("EVALSHA", arguments))
    }
}

/// Whether Redis does not know the script: it was restarted, or is a new primary.
pub(super) fn is_missing(answer: &Answer) -> bool {
    let error = answer.as_ref().ok().and_then(|answered| answered.reply.as_ref().err());
    error.is_some_and(|error| reply_code(error) == Some("NOSCRIPT"))
}

/// What the reply to a script of the bank means, and tells the guard whether Redis accepted it.
pub(super) fn accepted(answered: Answered) -> Result<Value, StoreError> {
    let Answered { primary, connection, asked_at, reply } = answered;
    let guard = primary.guard();
    let error = match reply {
        Ok(reply) => {
            guard.accepted();
            return Ok(reply);
        }
        Err(error) => error,
    };
    let (code, rest) = error.details().split_once(' ').unwrap_or((error.details(), ""));
    match code {
        "WRONGBANK" => return Err(guard.other_bank(rest.trim())),
        "CLOCKOFF" => {
            if let Some(time) = reply::unix_ms(rest) {
                guard.locator().options().clock.compare(asked_at, time);
            }
            return Err(clocks_apart());
        }
        "CLOCKBACK" => return Err(guard.clock_behind(reply::unix_ms(rest))),
        _ => {}
    }
    let explained = connection.explain(&error);
    // That a slot moves says nothing about this Redis.
    if matches!(explained, StoreError::Unavailable(_)) && connection.redirect(&error).is_none() {
        guard.refused(&explained);
    }
    Err(explained)
}

/// Removes the request records of a partition from before a window.
pub(super) async fn expire(
    connection: &Connection,
    keys: &Keys,
    bank_id: &str,
    partition: u32,
    oldest_kept: u64,
) -> Result<(), StoreError> {
    let set = keys.windows(partition);
    let windows = reply::list(connection.send(command("SMEMBERS", [set.as_str()])).await?)?;
    let windows = windows.into_iter().filter_map(|window| window.as_u64());
    let expired: Vec<_> = windows.filter(|window| *window < oldest_kept).collect();
    if expired.is_empty() {
        return Ok(());
    }
    let mut names = vec![keys.meta(partition), set];
    names.extend(expired.iter().map(|window| keys.requests(partition, window)));
    let mut words = vec![EXPIRE.to_owned(), names.len().to_string()];
    words.extend(names);
    words.push(bank_id.to_owned());
    words.extend(expired.iter().map(u64::to_string));
    connection.send(command("EVAL", words)).await.map(drop)
}

pub(super) fn clocks_apart() -> StoreError {
    StoreError::Unfit("the clocks of this server and of Redis are too far apart".to_owned())
}
