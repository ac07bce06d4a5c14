//! The connections to one primary, inspected, and made again when they are lost.

use std::{sync::Arc, time::Duration};

use fred::types::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Command, Connection, command},
    guard::{Guard, Role},
    keys::{HOME, Keys},
    reply,
};
use crate::StoreError;

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
            meta_key: keys.meta(HOME),
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

    /// Reads in one round trip, and only from the right bank on a primary: after a failover the connection may lead to a
    /// former primary, and after a loss of data to an empty Redis.
    pub(super) async fn read(&self, mut commands: Vec<Command>) -> Result<Vec<Value>, StoreError> {
        // First: that Redis holds another bank says more than that it is not connected.
        self.guard.require(|shortfall| shortfall.is_other_bank)?;
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
        self.guard.require(|_| true)?;
        self.guard.require_accepted()?;
        self.guard.ping(&commits).await?;
        self.guard.ping(&reads).await
    }
}

/// The connection, or why there is none.
type Live = Result<Arc<Connection>, String>;

/// A connection that is made again when it is lost.
struct Link {
    live: watch::Receiver<Live>,
    address: String,
    _supervisor: AbortOnDropHandle<()>,
}

impl Link {
    /// Starts with a connection that has been admitted.
    fn start(role: Role, guard: &Arc<Guard>, connection: Arc<Connection>) -> Self {
        let (sender, live) = watch::channel(Ok(Arc::clone(&connection)));
        let address = guard.locator().address().to_owned();
        let supervisor = supervise(role, Arc::clone(guard), sender, connection);
        Self { live, address, _supervisor: AbortOnDropHandle::new(tokio::spawn(supervisor)) }
    }

    /// # Errors
    /// [`StoreError::Unavailable`] while there is no connection.
    fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        self.live.borrow().clone().map_err(|reason| {
            StoreError::Unavailable(format!("not connected to Redis at {}: {reason}", self.address))
        })
    }
}

async fn supervise(
    role: Role,
    guard: Arc<Guard>,
    live: watch::Sender<Live>,
    mut connection: Arc<Connection>,
) {
    let redis = guard.locator().address();
    loop {
        guard.watch(role, &connection).await;
        let (lost_at, reason) = (Instant::now(), connection.reason());
        tracing::warn!(redis, ?role, reason, "lost the connection to Redis; reconnecting");
        drop(live.send_replace(Err(reason.to_owned())));
        connection = reconnect(role, &guard, &live).await;
        drop(live.send_replace(Ok(Arc::clone(&connection))));
        let took_ms = u64::try_from(lost_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(redis, ?role, took_ms, "reconnected to Redis");
        guard.begin_epoch();
    }
}

/// Tries without end, with longer and longer delays, whatever the reason: a password may be corrected just as a network
/// may.
async fn reconnect(role: Role, guard: &Guard, live: &watch::Sender<Live>) -> Arc<Connection> {
    let (redis, options) = (guard.locator().address(), guard.locator().options());
    let mut delay = options.reconnect_delay_min;
    let mut logged = String::new();
    loop {
        sleep(delay).await;
        delay = (delay * 2).clamp(Duration::from_millis(1), options.reconnect_delay_max);
        let reason = match guard.connect(role, Instant::now() + options.connect_timeout).await {
            Ok(connection) => return connection,
            Err(StoreError::Unavailable(reason)) => reason,
            Err(error) => error.to_string(),
        };
        if logged != reason {
            tracing::warn!(redis, ?role, reason, "cannot connect to Redis yet; trying again");
            logged.clone_from(&reason);
        }
        drop(live.send_replace(Err(reason)));
    }
}
