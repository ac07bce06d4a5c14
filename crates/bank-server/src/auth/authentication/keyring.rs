//! The keys in effect, kept up with their source.
//!
//! The source is looked at every so often, and at once when a token names a key that is not known,
//! but not more often than so. What cannot be read or used is told, and the keys before stay in effect:
//! for as long as they may stand unconfirmed.

use std::{future::pending, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    InvalidKeys, KeysError, TokenRejection, Unavailable, keys::KeySet, source::OpenSource,
    verified::VerifiedTokens,
};
use crate::files::Fingerprint;

/// What a timer may be early by.
const CLOCK_TICK: Duration = Duration::from_millis(1);

/// How keys are kept up with their source.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// The pause between two looks at the source.
    pub refresh_interval: Duration,
    /// The least pause before a look that a token with an unknown key asks for.
    pub refresh_pause_min: Duration,
    /// How long keys are used whose source cannot be read.
    pub unconfirmed_max: Duration,
    /// How many tokens are remembered as good.
    pub tokens_remembered_max: NonZeroUsize,
}

/// A handle to the keys in effect; cheap to clone. They are kept up for as long as there is one.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    state: watch::Receiver<State>,
    wanted: Arc<Notify>,
    upkeep: Upkeep,
    _keeping: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<KeySet>,
    /// When the source last had them.
    confirmed_at: Instant,
    /// How many looks have begun and ended.
    begun: u64,
    ended: u64,
    /// When the last look began that a token asked for.
    asked_at: Option<Instant>,
}

impl Keyring {
    /// Reads the keys, and keeps up with them from then on.
    pub(super) async fn open(source: OpenSource, upkeep: Upkeep) -> Result<Self, KeysError> {
        let contents = source.read().await?;
        let invalid = |reason| KeysError::Invalid { place: source.place(), reason };
        let (keys, unusable) = parse(&source, &upkeep, &contents).map_err(invalid)?;
        if keys.is_empty() {
            return Err(invalid(InvalidKeys::NoneUsable(unusable)));
        }
        let state =
            State { keys: Arc::new(keys), confirmed_at: Instant::now(), begun: 0, ended: 0, asked_at: None };
        let (sender, state) = watch::channel(state);
        let wanted = Arc::new(Notify::new());
        let keeping = Keeping {
            source,
            upkeep: upkeep.clone(),
            state: sender,
            wanted: Arc::clone(&wanted),
            seen: Ok(Fingerprint::of([contents.as_slice()])),
            in_effect: Fingerprint::of([contents.as_slice()]),
            given_up: false,
        };
        let keeping = AbortOnDropHandle::new(tokio::spawn(keeping.run()));
        Ok(Self { state, wanted, upkeep, _keeping: Arc::new(keeping) })
    }

    /// The keys in effect; `None` if they have not been confirmed for too long.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        state.reliable(&self.upkeep).then(|| Arc::clone(&state.keys))
    }

    /// Waits until a key does not verify tokens any more, and says why.
    pub(super) async fn withdrawn(&self, key: Fingerprint) -> TokenRejection {
        let mut state = self.state.clone();
        loop {
            let confirmed_at = {
                let state = state.borrow_and_update();
                if !state.reliable(&self.upkeep) {
                    return TokenRejection::KeysUnavailable;
                }
                if !state.keys.holds(key) {
                    return TokenRejection::KeyWithdrawn;
                }
                state.confirmed_at
            };
            // Until the next look, or until the keys are too old to be relied on.
            let unreliable_at = confirmed_at.checked_add(self.upkeep.unconfirmed_max + CLOCK_TICK);
            let change = async {
                // An error means that the upkeep has ended, which it does with the last handle.
                if state.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            match unreliable_at {
                Some(unreliable_at) => drop(timeout_at(unreliable_at, change).await),
                None => change.await,
            }
        }
    }

    /// Has the source looked at for a key that is not known, unless it was just now; waits until it was.
    ///
    /// A look that is under way is waited for first, and all who ask at a time share one.
    pub(super) async fn look_for(&self, id: &str) {
        let mut state = self.state.clone();
        let begun = state.borrow().begun;
        // Waiting ends in error only with the upkeep, which ends with the last handle.
        let _ = state.wait_for(|state| state.ended >= begun).await;
        let begun = {
            let state = state.borrow();
            if state.keys.find(Some(id)).is_some() || state.asked_within(self.upkeep.refresh_pause_min) {
                return;
            }
            state.begun
        };
        self.wanted.notify_one();
        let _ = state.wait_for(|state| state.ended > begun).await;
    }
}

impl State {
    fn reliable(&self, upkeep: &Upkeep) -> bool {
        self.confirmed_at.elapsed() <= upkeep.unconfirmed_max
    }

    fn asked_within(&self, pause: Duration) -> bool {
        self.asked_at.is_some_and(|asked_at| asked_at.elapsed() < pause)
    }
}

/// The loop that keeps up.
struct Keeping {
    source: OpenSource,
    upkeep: Upkeep,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
    /// What the last look found, so that nothing is told twice.
    seen: Result<Fingerprint, String>,
    in_effect: Fingerprint,
    /// Whether it has been told that the keys are too old to be used.
    given_up: bool,
}

impl Keeping {
    async fn run(mut self) {
        loop {
            let asked = timeout(self.upkeep.refresh_interval, self.wanted.notified()).await.is_ok();
            // Whoever asked while such a look was under way has waited for that one.
            if asked && self.state.borrow().asked_within(self.upkeep.refresh_pause_min) {
                continue;
            }
            self.state.send_modify(|state| {
                state.begun += 1;
                if asked {
                    state.asked_at = Some(Instant::now());
                }
            });
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let contents = self.source.read().await;
        let found = contents.as_ref().map(|contents| Fingerprint::of([contents.as_slice()]));
        let found = found.map_err(ToString::to_string);
        let confirmed = found.as_ref() == Ok(&self.in_effect);
        let mut new = None;
        if found != self.seen {
            if confirmed {
                tracing::info!(source = self.source.place(), "the keys can be read again");
            } else {
                new = self.replaced(contents);
            }
        }
        if let (Some(_), Ok(fingerprint)) = (&new, &found) {
            self.in_effect = *fingerprint;
        }
        self.seen = found;
        self.state.send_modify(|state| {
            state.ended += 1;
            if confirmed || new.is_some() {
                state.confirmed_at = Instant::now();
            }
            if let Some(keys) = new {
                state.keys = Arc::new(keys);
            }
        });
        let reliable = self.state.borrow().reliable(&self.upkeep);
        if !reliable && !self.given_up {
            tracing::error!("the keys have not been confirmed for too long: no token is good until they are");
        }
        self.given_up = !reliable;
    }

    /// What is in effect from now on, if it is something else.
    fn replaced(&self, contents: Result<Vec<u8>, Unavailable>) -> Option<KeySet> {
        let source = self.source.place();
        let invalid = |reason| KeysError::Invalid { place: source.clone(), reason };
        let parsed = contents
            .map_err(KeysError::from)
            .and_then(|contents| parse(&self.source, &self.upkeep, &contents).map_err(invalid));
        match parsed {
            Ok((keys, _)) if keys.is_empty() => {
                tracing::error!(source, "no key is left: every token is refused");
                Some(keys)
            }
            Ok((keys, _)) => {
                tracing::info!(source, keys = keys.names(), "new keys are in effect");
                Some(keys)
            }
            Err(error) => {
                tracing::error!("the keys before stay in effect for now: {error}");
                None
            }
        }
    }
}

/// The keys in contents, and why others of them cannot be used, which is told here.
fn parse(
    source: &OpenSource,
    upkeep: &Upkeep,
    contents: &[u8],
) -> Result<(KeySet, Vec<String>), InvalidKeys> {
    let verified = VerifiedTokens::new(upkeep.tokens_remembered_max);
    let (keys, unusable) = KeySet::parse(source.format, contents, verified)?;
    for reason in &unusable {
        tracing::warn!(source = source.place(), reason, "a key is left out");
    }
    Ok((keys, unusable))
}
