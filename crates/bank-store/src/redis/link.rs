//! A connection that comes back by itself.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    connection::Connection,
    guard::{Guard, Role},
    target::Target,
};
use crate::StoreError;

/// A connection to Redis that is made anew for as long as this exists.
#[derive(Debug)]
pub(super) struct Link {
    line: Arc<Line>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Line {
    role: Role,
    target: Arc<Target>,
    guard: Arc<Guard>,
    /// The connection, or why there is none.
    live: RwLock<Result<Connection, String>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Keeps up a connection that has been admitted.
    pub(super) fn keep(role: Role, target: &Arc<Target>, guard: &Arc<Guard>, connection: Connection) -> Self {
        let live = RwLock::new(Ok(connection.clone()));
        let line = Arc::new(Line { role, target: Arc::clone(target), guard: Arc::clone(guard), live });
        let keeper = tokio::spawn(Arc::clone(&line).keep(connection));
        Self { line, keeper }
    }

    /// The connection as it is now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while there is none.
    pub(super) fn connection(&self) -> Result<Connection, StoreError> {
        let live = self.line.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone().map_err(|reason| {
            let address = self.line.target.address();
            StoreError::Unavailable(format!("not connected to redis at {address}: {reason}"))
        })
    }
}

impl Line {
    async fn keep(self: Arc<Self>, mut connection: Connection) {
        let address = self.target.address();
        loop {
            self.guard.watch(self.role, &connection).await;
            let (lost_at, reason) = (Instant::now(), connection.reason());
            tracing::warn!(redis = address, role = ?self.role, reason, "connecting anew");
            self.set(Err(reason.to_owned()));
            connection = self.connect().await;
            self.set(Ok(connection.clone()));
            let took_ms = u64::try_from(lost_at.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis = address, role = ?self.role, took_ms, "connected again");
            self.guard.begin_epoch();
        }
    }

    /// Tries without end, with longer and longer pauses, whatever the reason: a password may be put
    /// right just as a network may.
    async fn connect(&self) -> Connection {
        let options = self.target.options();
        let mut pause = options.reconnect_delay_min;
        let mut said = None;
        loop {
            sleep(pause).await;
            pause = (pause * 2).clamp(Duration::from_millis(1), options.reconnect_delay_max);
            let reason = match self.try_connect().await {
                Ok(connection) => return connection,
                Err(StoreError::Unavailable(reason)) => reason,
                Err(error) => error.to_string(),
            };
            if said.as_ref() != Some(&reason) {
                tracing::warn!(redis = self.target.address(), role = ?self.role, reason, "cannot connect yet");
                said = Some(reason.clone());
            }
            self.set(Err(reason));
        }
    }

    async fn try_connect(&self) -> Result<Connection, StoreError> {
        let deadline = Instant::now() + self.target.options().connect_timeout;
        let connection = Connection::open(&self.target, deadline).await?;
        self.guard.admit(self.role, &connection).await?;
        Ok(connection)
    }

    fn set(&self, live: Result<Connection, String>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }
}
