//! A connection that is made again when it is lost.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::Connection,
    guard::{Guard, Role},
};
use crate::StoreError;

/// The connection, or why there is none.
type Live = Result<Arc<Connection>, String>;

#[derive(Debug)]
pub(super) struct Link {
    live: watch::Receiver<Live>,
    address: String,
    _supervisor: AbortOnDropHandle<()>,
}

impl Link {
    /// Starts with a connection that has been admitted.
    pub(super) fn start(role: Role, guard: &Arc<Guard>, connection: Arc<Connection>) -> Self {
        let (sender, live) = watch::channel(Ok(Arc::clone(&connection)));
        let address = guard.locator().address().to_owned();
        let supervisor = Supervisor { role, guard: Arc::clone(guard), live: sender };
        let supervisor = AbortOnDropHandle::new(tokio::spawn(supervisor.run(connection)));
        Self { live, address, _supervisor: supervisor }
    }

    /// # Errors
    /// [`StoreError::Unavailable`] while there is no connection.
    pub(super) fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        self.live.borrow().clone().map_err(|reason| {
            StoreError::Unavailable(format!("not connected to Redis at {}: {reason}", self.address))
        })
    }
}

struct Supervisor {
    role: Role,
    guard: Arc<Guard>,
    live: watch::Sender<Live>,
}

impl Supervisor {
    async fn run(self, mut connection: Arc<Connection>) {
        let (redis, role) = (self.guard.locator().address(), self.role);
        loop {
            self.guard.watch(role, &connection).await;
            let (lost_at, reason) = (Instant::now(), connection.reason());
            tracing::warn!(redis, ?role, reason, "lost the connection to Redis; reconnecting");
            self.publish(Err(reason.to_owned()));
            connection = self.reconnect().await;
            self.publish(Ok(Arc::clone(&connection)));
            let took_ms = u64::try_from(lost_at.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis, ?role, took_ms, "reconnected to Redis");
            self.guard.begin_epoch();
        }
    }

    fn publish(&self, live: Live) {
        self.live.send_modify(|current| *current = live);
    }

    /// Tries without end, with longer and longer delays, whatever the reason: a password may be corrected
    /// just as a network may.
    async fn reconnect(&self) -> Arc<Connection> {
        let (redis, role, options) =
            (self.guard.locator().address(), self.role, self.guard.locator().options());
        let mut delay = options.reconnect_delay_min;
        let mut logged = String::new();
        loop {
            sleep(delay).await;
            delay = (delay * 2).clamp(Duration::from_millis(1), options.reconnect_delay_max);
            let reason = match self.guard.connect(role, Instant::now() + options.connect_timeout).await {
                Ok(connection) => return connection,
                Err(StoreError::Unavailable(reason)) => reason,
                Err(error) => error.to_string(),
            };
            if logged != reason {
                tracing::warn!(redis, ?role, reason, "cannot connect to Redis yet; trying again");
                logged.clone_from(&reason);
            }
            self.publish(Err(reason));
        }
    }
}
