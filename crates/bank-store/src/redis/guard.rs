//! Looks again and again whether Redis is fit for the bank, and says so once when that changes.
//!
//! Every new connection is looked at before anything is sent on it, and that of the commits again at
//! each tick of the watchdog. While Redis does not give what was asked for, commits are refused;
//! while it holds another bank, or none, so are reads. All of that ends by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bank_domain::Timestamp;
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{self, timeout},
};

use super::{
    RedisOptions,
    connection::Connection,
    errors::reply_code,
    fitness::{self, Demand, Shortfall},
    inspection::{Inspection, inspect},
    keys::Keys,
};
use crate::StoreError;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Commits have a connection of their own, so that they never wait behind a long read.
    Commits,
    Reads,
}

#[derive(Debug)]
pub(super) struct Guard {
    options: RedisOptions,
    demand: Demand,
    keys: Keys,
    bank_id: String,
    state: Mutex<State>,
    epoch: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    commits: Option<Place>,
    reads: Option<Place>,
    /// The run of Redis whose append-only file was seen to be kept.
    proven_run_id: Option<String>,
    shortfall: Option<Shortfall>,
    /// Why Redis refused the last commit, if it did.
    rejection: Option<String>,
}

/// Where a connection leads.
#[derive(Debug)]
struct Place {
    run_id: String,
    closer: AbortHandle,
}

impl Guard {
    pub(super) fn new(options: &RedisOptions, keys: &Keys, bank_id: String) -> Self {
        Self {
            options: options.clone(),
            demand: Demand::of(options),
            keys: keys.clone(),
            bank_id,
            state: Mutex::default(),
            epoch: watch::Sender::new(0),
        }
    }

    pub(super) fn bank_id(&self) -> &str {
        &self.bank_id
    }

    /// Looks at a new connection, before anything else is sent on it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it leads to no primary, or to another one than the commits go to.
    pub(super) async fn admit(&self, role: Role, connection: &Connection) -> Result<(), StoreError> {
        let inspection = inspect(connection, &self.keys, &self.options).await?;
        require_usable(&inspection).map_err(|reason| StoreError::Unavailable(reason.to_owned()))?;
        if role == Role::Commits {
            self.judge(&inspection);
        }
        let run_id = inspection.run_id;
        let mut state = self.state();
        let other = match role {
            Role::Commits => &state.reads,
            Role::Reads => &state.commits,
        };
        if let Some(other) = other.as_ref().filter(|other| other.run_id != run_id) {
            // There has been a failover, or a restart. Who comes second is right, or finds out.
            other.closer.abort();
            if role == Role::Reads && !other.closer.is_finished() {
                let text = "reads lead to another redis than commits; both look again".to_owned();
                return Err(StoreError::Unavailable(text));
            }
        }
        let place = Some(Place { run_id, closer: connection.closer() });
        match role {
            Role::Commits => state.commits = place,
            Role::Reads => state.reads = place,
        }
        connection.admit();
        Ok(())
    }

    /// Watches over a connection until it has ended: one that does not answer, or leads to what is no
    /// primary any more, is ended here. Steady writes can hide a frozen Redis from the client's own check.
    pub(super) async fn watch(&self, role: Role, connection: &Connection) {
        let mut ticks = time::interval(self.options.watchdog_interval);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = connection.ended() => return,
                _ = ticks.tick() => {}
            }
            let look = async {
                let look = async {
                    match role {
                        Role::Commits => self.look(connection).await,
                        Role::Reads => ping(connection).await,
                    }
                };
                // Sentinels that do not answer take nothing away; those that name another end it.
                let (answer, _) = tokio::join!(look, connection.confirm());
                answer
            };
            // The client gives up on its own at about the same time as we do.
            let answered = match timeout(self.options.command_timeout, look).await {
                // A Redis that answers with an error is there.
                Ok(answer) => !answer.is_err_and(|error| error.is_outcome_unknown()),
                Err(_) => false,
            };
            if !answered {
                connection.close("redis does not answer");
            }
        }
    }

    /// Looks whether Redis is fit for the bank now.
    pub(super) async fn look(&self, connection: &Connection) -> Result<(), StoreError> {
        let inspection = inspect(connection, &self.keys, &self.options).await?;
        if let Err(reason) = require_usable(&inspection) {
            connection.close(reason);
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        self.judge(&inspection);
        if self.state().rejection.is_some() {
            // A write that changes nothing tells whether there is still a reason.
            let probe = connection.client().set(self.keys.barrier(), "probe", None, None, false);
            match connection.attempt_at_once(probe).await? {
                Ok(()) => self.accepted(),
                Err(error) => {
                    let is_reply = reply_code(&error).is_some();
                    let error = connection.explain(&error);
                    if !is_reply {
                        return Err(error);
                    }
                    self.refused(&error);
                }
            }
        }
        Ok(())
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
        let shortfall = if inspection.bank_id == self.bank_id {
            self.demand.shortfall(inspection, has_proof)
        } else {
            Some(fitness::other_bank(&inspection.bank_id, &self.bank_id))
        };
        self.set_shortfall(shortfall);
    }

    fn set_shortfall(&self, shortfall: Option<Shortfall>) {
        let mut state = self.state();
        match (&state.shortfall, &shortfall) {
            (before, Some(now)) if before.as_ref() != Some(now) => {
                let refused = if now.is_other_bank { "everything" } else { "commits" };
                tracing::error!(
                    reason = now.found,
                    remedy = now.remedy,
                    refused,
                    "redis is not fit for the bank"
                );
            }
            (Some(before), None) => tracing::info!(reason = before.found, "redis is fit for the bank again"),
            _ => {}
        }
        state.shortfall = shortfall;
    }

    /// Redis has answered with the id of another bank, or of none.
    pub(super) fn other_bank(&self, found: &str) -> StoreError {
        let shortfall = fitness::other_bank(found, &self.bank_id);
        let error = StoreError::Unfit(shortfall.found.clone());
        self.set_shortfall(Some(shortfall));
        error
    }

    /// Redis has refused a commit since its clock is behind that of the newest one.
    pub(super) fn went_back(&self, committed_at: Option<Timestamp>) -> StoreError {
        let shortfall = fitness::went_back(committed_at.unwrap_or(Timestamp::MAX));
        let error = StoreError::Unfit(shortfall.found.clone());
        self.set_shortfall(Some(shortfall));
        error
    }

    /// # Errors
    /// [`StoreError::Unfit`] if it is not the bank that it should be.
    pub(super) fn require_bank(&self) -> Result<(), StoreError> {
        self.require(|shortfall| shortfall.is_other_bank)
    }

    /// # Errors
    /// [`StoreError::Unfit`] if Redis does not give what was asked for.
    pub(super) fn require_fit(&self) -> Result<(), StoreError> {
        self.require(|_| true)
    }

    /// # Errors
    /// [`StoreError::Unfit`] if Redis keeps writes less firmly than was asked for, as far as is known.
    pub(super) fn require_durable(&self) -> Result<(), StoreError> {
        self.require(|shortfall| !shortfall.is_other_bank)
    }

    fn require(&self, counts: impl Fn(&Shortfall) -> bool) -> Result<(), StoreError> {
        match self.state().shortfall.as_ref().filter(|shortfall| counts(shortfall)) {
            Some(shortfall) => Err(StoreError::Unfit(shortfall.found.clone())),
            None => Ok(()),
        }
    }

    /// Redis has refused a commit.
    pub(super) fn refused(&self, error: &StoreError) {
        let mut state = self.state();
        let reason = error.to_string();
        if state.rejection.as_ref() != Some(&reason) {
            tracing::error!(reason, "redis refuses commits");
            state.rejection = Some(reason);
        }
    }

    /// Redis has taken a commit.
    pub(super) fn accepted(&self) {
        if let Some(reason) = self.state().rejection.take() {
            tracing::info!(reason, "redis takes commits again");
        }
    }

    /// # Errors
    /// [`StoreError::Unavailable`] if Redis refused the last commit.
    pub(super) fn require_accepted(&self) -> Result<(), StoreError> {
        self.state().rejection.clone().map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
    }

    /// A connection has been made anew: what was written before may be gone.
    pub(super) fn begin_epoch(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    pub(super) async fn epoch_after(&self, epoch: u64) -> u64 {
        let mut epochs = self.epoch.subscribe();
        // The sender is here, so it is not gone.
        epochs.wait_for(|now| *now > epoch).await.map_or(epoch, |now| *now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks whether Redis is there, and could write.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] if it does not answer; another if it answers with an error.
pub(super) async fn ping(connection: &Connection) -> Result<(), StoreError> {
    let answer = connection.attempt_at_once(connection.client().ping(None)).await?;
    answer.map_err(|error| connection.explain(&error))
}

/// # Errors
/// Why nothing can be done with it, if it is no primary, or not ready.
pub(super) fn require_usable(inspection: &Inspection) -> Result<(), &'static str> {
    if inspection.is_loading {
        return Err("redis is still reading its files");
    }
    if !inspection.is_primary {
        return Err(
            "this redis is a replica, not the primary: give the address of the primary, or of its Sentinels",
        );
    }
    Ok(())
}
