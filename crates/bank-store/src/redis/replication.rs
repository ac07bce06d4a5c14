//! Writes that wait until as many replicas as `store.redis.replicas` says have them.

use super::{
    connection::{Command, Connection, Reply, command},
    options::RedisOptions,
};
use crate::StoreError;

/// Sends a command that writes, and waits for replicas.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if too few replicas have it in time.
pub(super) async fn write(connection: &Connection, write: Command) -> Result<Reply, StoreError> {
    let RedisOptions { replicas, replicas_timeout, .. } = **connection.target().options();
    if replicas == 0 {
        return connection.try_send(write).await;
    }
    let timeout_ms = replicas_timeout.as_millis();
    let wait = command("WAIT", [replicas.to_string(), timeout_ms.to_string()]);
    let mut replies = connection.try_send_all(vec![write, wait]).await?.into_iter();
    let reply = match replies.next() {
        Some(Ok(reply)) => reply,
        Some(error) => return Ok(error),
        None => return Err(StoreError::OutcomeUnknown("Redis did not reply".to_owned())),
    };
    // What the primary has and the replicas may not have is neither done nor undone.
    let problem = match replies.next() {
        Some(Ok(count)) => match count.as_u64().unwrap_or_default() {
            count if count >= u64::from(replicas) => return Ok(Ok(reply)),
            count => format!("{count} of {replicas} replicas had it within {timeout_ms} ms"),
        },
        Some(Err(error)) => format!("the wait for replicas failed: {}", error.details()),
        None => "the wait for replicas has no reply".to_owned(),
    };
    Err(StoreError::OutcomeUnknown(format!("{problem}; the primary has it")))
}
