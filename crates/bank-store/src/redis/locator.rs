//! Finds the primary: the server of the URL, or the one that the Sentinels name.

use std::sync::Arc;

use tokio::time::Instant;

use super::{connection::Connection, options::RedisOptions, sentinel::Sentinels, target::Target};
use crate::StoreError;

#[derive(Debug)]
pub(super) struct Locator {
    target: Target,
    sentinels: Option<Sentinels>,
}

impl Locator {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let target = Target::new(options)?;
        Ok(Self { sentinels: Sentinels::of(&target), target })
    }

    pub(super) fn address(&self) -> &str {
        self.target.address()
    }

    pub(super) fn options(&self) -> &Arc<RedisOptions> {
        self.target.options()
    }

    /// Connects to the primary.
    ///
    /// # Errors
    /// As [`Connection::open`]; [`StoreError::Unavailable`] while the primary is being replaced;
    /// [`StoreError::Misconfigured`] if the Sentinels replace one too soon.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Arc<Connection>, StoreError> {
        let Some(sentinels) = &self.sentinels else {
            return Connection::open(self.target.clone(), None, deadline).await;
        };
        let primary = sentinels.primaries().await?.into_iter().next();
        sentinels.require_slow_failover()?;
        let primary = primary
            .ok_or_else(|| StoreError::Unavailable("the Sentinels are replacing the primary".to_owned()))?;
        let target = self.target.primary(primary);
        let connection = Connection::open(target, Some(sentinels.down_after_ms()), deadline).await?;
        // One that was frozen may have been replaced before it accepted the connection.
        self.confirm(&connection).await?;
        Ok(connection)
    }

    /// Asks the Sentinels, if there are any, whether a connection still leads to the primary; closes it if not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not, or no Sentinel replies.
    pub(super) async fn confirm(&self, connection: &Connection) -> Result<(), StoreError> {
        let Some(sentinels) = &self.sentinels else { return Ok(()) };
        let primaries = sentinels.primaries().await?;
        let is_primary = connection.target().server().is_some_and(|server| primaries.contains(server));
        let confirmed = match sentinels.require_slow_failover() {
            Ok(()) if !is_primary => {
                Err(StoreError::Unavailable("the Sentinels name another primary".to_owned()))
            }
            other => other,
        };
        if let Err(error) = &confirmed {
            connection.close(&error.to_string());
        }
        confirmed
    }
}
