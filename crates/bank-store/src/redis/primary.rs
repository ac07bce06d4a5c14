//! The connections to one primary, inspected and kept up.

use std::sync::Arc;

use fred::types::Value;
use tokio::time::Instant;

use super::{
    connection::{Command, Connection, command},
    guard::{Guard, Role},
    keys::Keys,
    link::Link,
    reply,
};
use crate::StoreError;

#[derive(Debug)]
pub(super) struct Primary {
    guard: Arc<Guard>,
    commits: Link,
    reads: Link,
    meta_key: String,
}

impl Primary {
    /// Starts with the connection that the bank was opened on, which becomes that of the commits.
    pub(super) async fn start(
        guard: Guard,
        keys: &Keys,
        commits: Arc<Connection>,
        deadline: Instant,
    ) -> Result<Self, StoreError> {
        let guard = Arc::new(guard);
        guard.admit(Role::Commits, &commits).await?;
        let reads = guard.connect(Role::Reads, deadline).await?;
        Ok(Self {
            commits: Link::start(Role::Commits, &guard, commits),
            reads: Link::start(Role::Reads, &guard, reads),
            guard,
            meta_key: keys.meta(),
        })
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The connection for writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while there is none.
    pub(super) fn commits(&self) -> Result<Arc<Connection>, StoreError> {
        self.commits.connection()
    }

    /// Reads in one round trip, and only from the right bank on a primary: after a failover a connection may still
    /// lead to what was one, and after a mishap to an empty Redis.
    pub(super) async fn read(&self, mut commands: Vec<Command>) -> Result<Vec<Value>, StoreError> {
        // First: that Redis holds another bank says more than that it is not connected.
        self.guard.require_bank()?;
        let connection = self.reads.connection()?;
        let role = command("ROLE", [(); 0]);
        let bank_id = command("HGET", [self.meta_key.as_str(), "bank_id"]);
        commands.splice(..0, [role, bank_id]);
        let mut checks = connection.send_all(commands).await?;
        let replies = checks.split_off(checks.len().min(2));
        let [role, bank_id] = reply::array(checks)?;
        let role = reply::list(role)?.into_iter().next();
        if role.as_ref().and_then(Value::as_str).as_deref() != Some("master") {
            connection.close("this Redis is no longer a primary");
            let address = connection.address();
            return Err(StoreError::Unavailable(format!("Redis at {address} is no longer a primary")));
        }
        let bank_id = bank_id.into_string().unwrap_or_default();
        if bank_id != self.guard.bank_id() {
            return Err(self.guard.other_bank(&bank_id));
        }
        Ok(replies)
    }

    /// # Errors
    /// Why commits or reads would fail now.
    pub(super) async fn health(&self) -> Result<(), StoreError> {
        let (commits, reads) = (self.commits.connection()?, self.reads.connection()?);
        self.guard.require_fit()?;
        self.guard.require_accepted()?;
        self.guard.ping(&commits).await?;
        self.guard.ping(&reads).await
    }
}
