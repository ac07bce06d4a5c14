//! Calls `commit.lua`, and waits until as many replicas as asked have what it wrote.

use fred::{
    cmd,
    error::Error as FredError,
    interfaces::{ClientLike as _, LuaInterface as _},
    types::{CustomCommand, Value},
};

use super::{
    RedisOptions,
    commit::{Call, SCRIPT},
    connection::Connection,
    errors::reply_code,
    guard::Guard,
    identity::Founded,
    reply,
};
use crate::{StoreError, clock::Timekeeper};

/// The script as Redis knows it, with what it is told at each call.
#[derive(Debug)]
pub(super) struct Script {
    digest: String,
    bank_id: String,
    request_retention_seconds: u64,
    request_window_seconds: u64,
    replicas: u32,
    replicas_timeout_ms: i64,
    clock: Timekeeper,
    /// How long a commit may take.
    commit_ms_max: u128,
}

impl Script {
    /// Makes Redis know it; returns its digest.
    pub(super) async fn load(connection: &Connection) -> Result<String, StoreError> {
        connection.run(connection.client().script_load(SCRIPT)).await
    }

    pub(super) fn new(digest: String, founded: &Founded, options: &RedisOptions) -> Self {
        Self {
            digest,
            bank_id: founded.bank_id.clone(),
            request_retention_seconds: options.request_retention_seconds(),
            request_window_seconds: founded.request_window_seconds,
            replicas: options.replicas,
            replicas_timeout_ms: i64::try_from(options.replicas_timeout.as_millis()).unwrap_or(i64::MAX),
            clock: options.clock.clone(),
            commit_ms_max: options.command_timeout.as_millis(),
        }
    }

    /// Runs it, and tells the guard how Redis took it.
    pub(super) async fn call(
        &self,
        connection: &Connection,
        guard: &Guard,
        call: &Call,
    ) -> Result<Value, StoreError> {
        let asked_at = self.clock.steady();
        let mut answer = self.evaluate(connection, call).await?;
        // A Redis that was restarted, or is a new primary, does not know the script.
        if answer.as_ref().is_err_and(|error| reply_code(error) == Some("NOSCRIPT")) {
            connection.run(connection.client().script_load::<(), _>(SCRIPT)).await?;
            answer = self.evaluate(connection, call).await?;
        }
        let error = match answer {
            Ok(answer) => {
                guard.accepted();
                return Ok(answer);
            }
            Err(error) => error,
        };
        let rest = |code: &str| error.details().trim_start_matches(code).trim();
        match reply_code(&error) {
            Some("WRONGBANK") => return Err(guard.other_bank(rest("WRONGBANK"))),
            Some("CLOCKOFF") => {
                if let Some(said) = reply::time(rest("CLOCKOFF")) {
                    self.clock.compare(asked_at, said);
                }
                return Err(clocks_apart());
            }
            Some("CLOCKBACK") => return Err(guard.went_back(reply::time(rest("CLOCKBACK")))),
            _ => {}
        }
        let explained = connection.explain(&error);
        if matches!(explained, StoreError::Unavailable(_)) {
            guard.refused(&explained);
        }
        Err(explained)
    }

    /// One round trip, with the wait for replicas or without.
    async fn evaluate(
        &self,
        connection: &Connection,
        call: &Call,
    ) -> Result<Result<Value, FredError>, StoreError> {
        let (key_count, script) = (call.keys.len().to_string(), cmd!("EVALSHA"));
        let sent_at = self.clock.now().map_err(|_| clocks_apart())?;
        let mut arguments = vec![Value::from(self.digest.as_str()), Value::from(key_count)];
        arguments.extend(call.keys.iter().cloned());
        arguments.extend([
            Value::from(self.request_retention_seconds.to_string()),
            Value::from(self.request_window_seconds.to_string()),
            Value::from(self.bank_id.as_str()),
            Value::from(if self.replicas > 0 { "1" } else { "0" }),
            Value::from(sent_at.unix_ms().to_string()),
            Value::from(call.decided_at.unix_ms().to_string()),
            Value::from(self.clock.offset_max().as_millis().to_string()),
            Value::from(self.commit_ms_max.to_string()),
            call.payload.clone(),
        ]);
        self.run(connection, script, arguments).await
    }

    /// Runs a command that writes, and waits until as many replicas as asked have it.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        command: CustomCommand,
        arguments: Vec<Value>,
    ) -> Result<Result<Value, FredError>, StoreError> {
        if self.replicas == 0 {
            return connection.attempt(connection.client().custom(command, arguments)).await;
        }

        let pipeline = connection.pipeline();
        let queued = async {
            pipeline.custom::<(), _>(command, arguments).await?;
            let wait = vec![i64::from(self.replicas), self.replicas_timeout_ms];
            pipeline.custom::<(), _>(cmd!("WAIT"), wait).await
        };
        queued.await.map_err(|error| connection.explain(&error))?;
        let mut answers = connection.attempt(pipeline.try_all::<Value>()).await?.into_iter();
        match (answers.next(), answers.next()) {
            (Some(Ok(answer)), waited) => {
                self.require_replicas(waited)?;
                Ok(Ok(answer))
            }
            (Some(Err(error)), _) => Ok(Err(error)),
            (None, _) => Err(StoreError::OutcomeUnknown("redis answered nothing".to_owned())),
        }
    }

    /// What the primary has and the replicas may not is neither done nor undone.
    fn require_replicas(&self, waited: Option<Result<Value, FredError>>) -> Result<(), StoreError> {
        let unknown = |what: &str| Err(StoreError::OutcomeUnknown(format!("{what}; the primary has it")));
        let count = match waited {
            Some(Ok(count)) => count.as_u64().unwrap_or_default(),
            Some(Err(error)) => {
                return unknown(&format!("the wait for replicas failed: {}", error.details()));
            }
            None => return unknown("the wait for replicas has no answer"),
        };
        if count >= u64::from(self.replicas) {
            return Ok(());
        }
        unknown(&format!(
            "{count} of {} replicas had it within {} ms",
            self.replicas, self.replicas_timeout_ms
        ))
    }
}

pub(super) fn clocks_apart() -> StoreError {
    StoreError::Unfit("the clocks of this server and of redis are too far apart".to_owned())
}
