//! The connections to one primary, inspected, and made again when they are lost.

use std::{sync::Arc, time::Duration};

use fred::types::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Command, Connection, Reply, command},
    guard::{Guard, Role},
    reply,
};
use crate::StoreError;

pub(super) struct Primary {
    guard: Arc<Guard>,
    commits: Link,
    reads: Link,
}

/// What commands are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// For the bank that is open, on a Redis that meets the requirements.
    Commit,
    /// By an import, whose scripts check that the bank is marked with it.
    Import,
}

/// Commands for one primary.
pub(super) struct Exchange {
    pub(super) access: Access,
    pub(super) commands: Vec<Command>,
    /// Whether the slot of each is still on its way here.
    pub(super) asking: bool,
    /// How long to wait for a connection if there is none.
    pub(super) wait_until: Option<Instant>,
}

impl Primary {
    /// Starts with the connection that the bank was opened on, which becomes that of the commits.
    pub(super) async fn start(
        guard: Guard,
        commits: Arc<Connection>,
        deadline: Instant,
    ) -> Result<Self, StoreError> {
        let guard = Arc::new(guard);
        guard.admit(Role::Commits, &commits).await?;
        let reads = guard.connect(Role::Reads, deadline).await?;
        Ok(Self {
            commits: Link::start(Role::Commits, &guard, Some(commits)),
            reads: Link::start(Role::Reads, &guard, Some(reads)),
            guard,
        })
    }

    /// Starts without a connection. Commands fail until there is one that has been inspected.
    pub(super) fn join(guard: Guard) -> Self {
        let guard = Arc::new(guard);
        Self {
            commits: Link::start(Role::Commits, &guard, None),
            reads: Link::start(Role::Reads, &guard, None),
            guard,
        }
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

    /// Sends commands in one round trip, and returns the replies and the connection that they came on.
    ///
    /// # Errors
    /// [`StoreError`] if this Redis is not connected, does not respond, or may not be used for this.
    pub(super) async fn exchange(
        &self,
        exchange: Exchange,
    ) -> Result<(Arc<Connection>, Vec<Reply>), StoreError> {
        let Exchange { access, commands, asking, wait_until } = exchange;
        if access == Access::Read {
            // First: that Redis holds another bank says more than that it is not connected.
            self.guard.require(|shortfall| shortfall.is_other_bank)?;
        }
        let link = if access == Access::Read { &self.reads } else { &self.commits };
        if let Some(deadline) = wait_until {
            link.wait(deadline).await;
        }
        // In this order: a connection is inspected before it is here.
        let connection = link.connection()?;
        if access == Access::Commit {
            self.guard.require(|_| true)?;
        }
        let commands = if asking {
            let each = commands.into_iter().flat_map(|it| [command("ASKING", [(); 0]), it]);
            each.collect()
        } else {
            commands
        };
        let mut replies = match access {
            Access::Read => self.read(&connection, commands).await?,
            Access::Commit | Access::Import => connection.write_each(commands).await?,
        };
        if asking {
            let mut is_asking = false;
            replies.retain(|_| {
                is_asking = !is_asking;
                !is_asking
            });
        }
        Ok((connection, replies))
    }

    /// Reads only from the right bank on a primary: after a failover the connection may lead to a former primary, and after
    /// a loss of data to an empty Redis.
    async fn read(&self, connection: &Connection, commands: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        let mut all = vec![command("ROLE", [(); 0])];
        let witness_key = self.guard.witness_key();
        all.extend(witness_key.iter().map(|key| command("HGET", [key.as_str(), "bank_id"])));
        // Otherwise the guard knows that a node gives no reads without the others.
        let asks_state = connection.target().is_cluster() && !self.guard.locator().options().check_config;
        all.extend(asks_state.then(|| command("CLUSTER", ["INFO"])));
        let checks_count = all.len();
        all.extend(commands);
        let mut checks = connection.try_send_all(all).await?;
        let replies = checks.split_off(checks.len().min(checks_count));
        let mut checks = checks.into_iter();
        let mut next = || checks.next().unwrap_or_else(|| Ok(Value::Null));

        let role = next().map_err(|error| connection.explain(&error))?;
        let role = reply::list(role)?.into_iter().next();
        let address = connection.address();
        if role.as_ref().and_then(Value::as_str).as_deref() != Some("master") {
            connection.close("this Redis is no longer a primary");
            return Err(StoreError::Unavailable(format!("Redis at {address} is no longer a primary")));
        }
        match witness_key.map(|_| next()) {
            None => {}
            // The commands themselves say where to go, or the identity of another partition is compared next.
            Some(Err(error)) if connection.redirect(&error).is_some() => self.guard.change_witness(),
            Some(found) => {
                let found = found.map_err(|error| connection.explain(&error))?;
                let found = found.into_string().unwrap_or_default();
                if found != self.guard.bank_id() {
                    return Err(self.guard.other_bank(&found));
                }
            }
        }
        if asks_state {
            let state = reply::text(next().map_err(|error| connection.explain(&error))?)?;
            if !state.contains("cluster_state:ok") {
                return Err(StoreError::Unavailable(format!("the cluster of Redis at {address} is down")));
            }
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
    /// Starts with a connection that has been admitted, or makes one.
    fn start(role: Role, guard: &Arc<Guard>, connection: Option<Arc<Connection>>) -> Self {
        let first = connection.clone().ok_or_else(|| "it has just become a primary".to_owned());
        let (sender, live) = watch::channel(first);
        let address = guard.locator().address().to_owned();
        let supervisor = supervise(role, Arc::clone(guard), sender, connection);
        Self { live, address, _supervisor: AbortOnDropHandle::new(tokio::spawn(supervisor)) }
    }

    /// Waits until there is a connection, no longer than this.
    async fn wait(&self, deadline: Instant) {
        let mut live = self.live.clone();
        // Whether there is one, the caller finds out.
        let _ = timeout_at(deadline, live.wait_for(Result::is_ok)).await;
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
    mut connection: Option<Arc<Connection>>,
) {
    let redis = guard.locator().address();
    let options = guard.locator().options();
    loop {
        let lost_at = if let Some(connection) = connection.take() {
            guard.watch(role, &connection).await;
            let reason = connection.reason();
            tracing::warn!(redis, ?role, reason, "lost the connection to Redis; reconnecting");
            drop(live.send_replace(Err(reason.to_owned())));
            let lost_at = Instant::now();
            sleep(options.reconnect_delay_min).await;
            lost_at
        } else {
            Instant::now()
        };
        let made = reconnect(role, &guard, &live).await;
        drop(live.send_replace(Ok(Arc::clone(&made))));
        connection = Some(made);
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
        delay = (delay * 2).clamp(Duration::from_millis(1), options.reconnect_delay_max);
        sleep(delay).await;
    }
}
