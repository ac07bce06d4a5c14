//! Checks again and again whether Redis meets the bank's requirements, and logs once when that changes.
//!
//! Every new connection is inspected before anything is sent on it, and that of the commits again at
//! each tick of the watchdog. While Redis does not meet the requirements, commits are refused;
//! while it holds another bank, or none, so are reads. All of that ends when Redis meets them again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bank_domain::Timestamp;
use tokio::{
    sync::watch,
    time::{self, Instant, timeout},
};

use super::{
    connection::{Connection, command},
    errors::reply_code,
    fitness::{self, Shortfall, shortfall},
    inspection::{Inspection, inspect, ping},
    keys::Keys,
    locator::Locator,
    reply,
};
use crate::StoreError;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Commits have a connection of their own, so that they never wait behind a long read.
    Commits,
    Reads,
}

pub(super) struct Guard {
    locator: Locator,
    keys: Keys,
    bank_id: String,
    state: Mutex<State>,
    epochs: Epochs,
}

/// The epoch of a store: it ends whenever one of its connections is made anew.
pub(super) type Epochs = Arc<watch::Sender<u64>>;

#[derive(Default)]
struct State {
    /// Partitions on this Redis; the copy of the identity of the first one is compared.
    witnesses: VecDeque<u32>,
    /// By [`Role`].
    connections: [Option<Admitted>; 2],
    /// The run of Redis whose append-only file has been seen at rest.
    proven_run_id: Option<String>,
    shortfall: Option<Shortfall>,
    /// Why Redis refused the last commit, if it did.
    refusal: Option<String>,
}

/// A connection, and the run of Redis that it leads to.
struct Admitted {
    run_id: String,
    connection: Weak<Connection>,
}

impl Guard {
    /// For the Redis that has these partitions of the bank.
    pub(super) fn new(
        locator: Locator,
        keys: &Keys,
        bank_id: &str,
        partitions: Vec<u32>,
        epochs: Epochs,
    ) -> Self {
        let state = State { witnesses: partitions.into(), ..State::default() };
        Self { locator, keys: keys.clone(), bank_id: bank_id.to_owned(), state: Mutex::new(state), epochs }
    }

    pub(super) fn locator(&self) -> &Locator {
        &self.locator
    }

    pub(super) fn bank_id(&self) -> &str {
        &self.bank_id
    }

    /// The key of the identity that is compared; `None` if no partition is on this Redis.
    pub(super) fn witness_key(&self) -> Option<String> {
        self.witness().map(|partition| self.keys.meta(partition))
    }

    fn witness(&self) -> Option<u32> {
        self.state().witnesses.front().copied()
    }

    /// Other partitions are on this Redis now.
    pub(super) fn set_partitions(&self, partitions: Vec<u32>) {
        self.state().witnesses = partitions.into();
    }

    /// The partition whose identity was compared is on the move: the next time, another one is.
    pub(super) fn change_witness(&self) {
        let witnesses = &mut self.state().witnesses;
        if let Some(first) = witnesses.pop_front() {
            witnesses.push_back(first);
        }
    }

    /// Opens a connection that may be used.
    ///
    /// # Errors
    /// As [`Locator::connect`]; [`StoreError::Unavailable`] if it leads to no primary, or to another one than
    /// the commits go to.
    pub(super) async fn connect(&self, role: Role, deadline: Instant) -> Result<Arc<Connection>, StoreError> {
        let connection = self.locator.connect(deadline).await?;
        self.admit(role, &connection).await?;
        Ok(connection)
    }

    /// Inspects a new connection, before anything else is sent on it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] as for [`Guard::connect`].
    pub(super) async fn admit(&self, role: Role, connection: &Arc<Connection>) -> Result<(), StoreError> {
        let inspection = self.inspect(connection).await?;
        inspection.require_usable().map_err(|reason| StoreError::Unavailable(reason.to_owned()))?;
        if role == Role::Commits {
            self.judge(&inspection);
        }
        let run_id = inspection.run_id;
        let mut state = self.state();
        let other = state.connections[1 - role as usize].as_ref().filter(|other| other.run_id != run_id);
        if let Some(other) = other.and_then(|other| other.connection.upgrade()) {
            // There has been a failover, or a restart. Whichever connected second is right, or finds out.
            let text = "reads and commits lead to different servers; both reconnect";
            let was_open = !other.has_ended();
            other.close(text);
            if role == Role::Reads && was_open {
                return Err(StoreError::Unavailable(text.to_owned()));
            }
        }
        state.connections[role as usize] = Some(Admitted { run_id, connection: Arc::downgrade(connection) });
        connection.admit();
        Ok(())
    }

    async fn inspect(&self, connection: &Connection) -> Result<Inspection, StoreError> {
        let witness_key = self.witness_key();
        let inspection = inspect(connection, witness_key.as_deref(), self.locator.options()).await?;
        if witness_key.is_some() && inspection.bank_id.is_none() {
            self.change_witness();
        }
        if let Some(timeout_ms) = inspection.node_timeout_ms() {
            self.locator.node_timeout_is(timeout_ms);
        }
        Ok(inspection)
    }

    /// Watches a connection until it has ended. One that does not respond, or no longer leads to a primary, is
    /// closed here. Steady writes can hide a frozen Redis from the client's own check.
    pub(super) async fn watch(&self, role: Role, connection: &Connection) {
        let options = self.locator.options();
        let mut ticks = time::interval(options.watchdog_interval);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = connection.ended() => return,
                _ = ticks.tick() => {}
            }
            let check = async {
                match role {
                    Role::Commits => self.check(connection).await,
                    Role::Reads => self.ping(connection).await,
                }
            };
            // Whoever names the primary and does not respond changes nothing; another name closes the connection. All
            // connections to a cluster share an answer.
            let recently = Instant::now() - options.watchdog_interval / 2;
            let checks = async { tokio::join!(check, self.locator.confirm(connection, recently)).0 };
            // The client gives up on its own at about the same time.
            let responds = match timeout(options.command_timeout, checks).await {
                // A Redis that replies with an error responds.
                Ok(result) => !result.is_err_and(|error| error.is_outcome_unknown()),
                Err(_) => false,
            };
            if !responds {
                connection.close("Redis does not respond");
            }
        }
    }

    /// Checks whether Redis meets the requirements now.
    pub(super) async fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let inspection = self.inspect(connection).await?;
        if let Err(reason) = inspection.require_usable() {
            connection.close(reason);
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        self.judge(&inspection);
        if self.state().refusal.is_some()
            && let Some(partition) = self.witness()
        {
            // A write that changes nothing shows whether there is still a reason.
            let write = command("SET", [self.keys.barrier(partition), "probe".to_owned()]);
            let [answer] = reply::array(connection.probe(vec![write]).await?)?;
            match answer {
                Ok(_) => self.accepted(),
                Err(error) if connection.redirect(&error).is_some() => self.change_witness(),
                Err(error) => {
                    let explained = connection.explain(&error);
                    if reply_code(&error).is_none() {
                        return Err(explained);
                    }
                    self.refused(&explained);
                }
            }
        }
        Ok(())
    }

    /// Checks that Redis responds, and could write.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] if it does not respond; another if it replies with an error.
    pub(super) async fn ping(&self, connection: &Connection) -> Result<(), StoreError> {
        // A node of a cluster that is down answers a `PING` all the same.
        let witness_key = self.witness_key().filter(|_| connection.target().is_cluster());
        let question = witness_key.map_or_else(ping, |key| command("HGET", [key.as_str(), "bank_id"]));
        let [answer] = reply::array(connection.probe(vec![question]).await?)?;
        match answer {
            Err(error) if connection.is_moving(&error) => {
                self.change_witness();
                Ok(())
            }
            answer => answer.map(drop).map_err(|error| connection.explain(&error)),
        }
    }

    fn judge(&self, inspection: &Inspection) {
        let has_proof = {
            let mut state = self.state();
            if !inspection.has_file() {
                state.proven_run_id = None;
            } else if !inspection.is_rewriting {
                state.proven_run_id = Some(inspection.run_id.clone());
            }
            state.proven_run_id.as_ref() == Some(&inspection.run_id)
        };
        self.set_shortfall(match &inspection.bank_id {
            Some(found) if *found != self.bank_id => Some(fitness::other_bank(found, &self.bank_id)),
            // It is not known now.
            None if self.require(|shortfall| shortfall.is_other_bank).is_err() => return,
            _ => shortfall(self.locator.options(), inspection, has_proof),
        });
    }

    fn set_shortfall(&self, shortfall: Option<Shortfall>) {
        let redis = self.locator.address();
        let mut state = self.state();
        match (&state.shortfall, &shortfall) {
            (before, Some(now)) if before.as_ref() != Some(now) => {
                let refused = if now.is_other_bank { "everything" } else { "commits" };
                tracing::error!(
                    redis,
                    reason = now.found,
                    remedy = now.remedy,
                    refused,
                    "Redis does not meet the requirements"
                );
            }
            (Some(before), None) => {
                tracing::info!(redis, reason = before.found, "Redis meets the requirements again");
            }
            _ => {}
        }
        state.shortfall = shortfall;
    }

    fn unfit(&self, shortfall: Shortfall) -> StoreError {
        let error = StoreError::Unfit(shortfall.found.clone());
        self.set_shortfall(Some(shortfall));
        error
    }

    /// Redis has replied with the id of another bank, or of none.
    pub(super) fn other_bank(&self, found: &str) -> StoreError {
        self.unfit(fitness::other_bank(found, &self.bank_id))
    }

    /// Redis has refused a commit since its clock is behind that of the newest one.
    pub(super) fn clock_behind(&self, committed_at: Option<Timestamp>) -> StoreError {
        self.unfit(fitness::clock_behind(committed_at.unwrap_or(Timestamp::MAX)))
    }

    /// # Errors
    /// [`StoreError::Unfit`] if Redis has a shortfall that counts.
    pub(super) fn require(&self, counts: impl Fn(&Shortfall) -> bool) -> Result<(), StoreError> {
        match self.state().shortfall.as_ref().filter(|shortfall| counts(shortfall)) {
            Some(shortfall) => Err(StoreError::Unfit(shortfall.found.clone())),
            None => Ok(()),
        }
    }

    /// Redis has refused a commit.
    pub(super) fn refused(&self, error: &StoreError) {
        let mut state = self.state();
        let reason = error.to_string();
        if state.refusal.as_ref() != Some(&reason) {
            tracing::error!(redis = self.locator.address(), reason, "Redis refuses commits");
            state.refusal = Some(reason);
        }
    }

    /// Redis has accepted a commit.
    pub(super) fn accepted(&self) {
        if let Some(reason) = self.state().refusal.take() {
            tracing::info!(redis = self.locator.address(), reason, "Redis accepts commits again");
        }
    }

    /// # Errors
    /// [`StoreError::Unavailable`] if Redis refused the last commit.
    pub(super) fn require_accepted(&self) -> Result<(), StoreError> {
        self.state().refusal.clone().map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
    }

    /// A connection has been made anew: what was written before may be gone.
    pub(super) fn begin_epoch(&self) {
        self.epochs.send_modify(|epoch| *epoch += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
