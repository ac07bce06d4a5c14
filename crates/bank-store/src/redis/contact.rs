//! A server that is asked now and then: a Sentinel, or a node of a cluster for its view of the cluster.

use std::sync::{Arc, Mutex, PoisonError};

use fred::types::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    connection::{Command, Connection},
    target::Target,
};
use crate::StoreError;

pub(super) struct Contact {
    target: Target,
    /// Kept from one question to the next.
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Contact {
    pub(super) fn new(target: Target) -> Self {
        Self { target, connection: Mutex::default() }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Asks in one round trip. A connection on which no reply came in time is not used again.
    ///
    /// # Errors
    /// [`StoreError`] if it does not respond by the deadline, or replies with an error.
    pub(super) async fn ask(
        &self,
        questions: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Value>, StoreError> {
        let kept = || self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let open = kept().take().filter(|connection| !connection.has_ended());
        let connection = match open {
            Some(connection) => connection,
            None => Connection::open(self.target.clone(), None, deadline).await?,
        };
        let replies = timeout_at(deadline, connection.send_all(questions)).await;
        let replies = replies
            .map_err(|_| StoreError::Unavailable(format!("{} does not respond", self.target.address())))??;
        *kept() = Some(connection);
        Ok(replies)
    }
}
