//! The keys in effect, kept up with their source.
//!
//! The source is looked at every so often, and at once when a token names a key that is not known,
//! but not more often than so. What cannot be read or used is told, and the keys before stay in effect:
//! for as long as they may stand unconfirmed.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    InvalidKeys, KeysError, Unavailable, keys::KeySet, source::OpenSource, verified::VerifiedTokens,
};
use crate::files::Fingerprint;

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
    _upkeep: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<KeySet>,
    /// When the source last had them.
    confirmed_at: Instant,
    looks: u64,
    looked_at: Instant,
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
        let now = Instant::now();
        let (sender, state) =
            watch::channel(State { keys: Arc::new(keys), confirmed_at: now, looks: 0, looked_at: now });
        let wanted = Arc::new(Notify::new());
        let keeping = Keeping {
            source,
            upkeep: upkeep.clone(),
            state: sender,
            wanted: Arc::clone(&wanted),
            seen: Ok(Fingerprint::of([contents.as_slice()])),
            in_effect: Fingerprint::of([contents.as_slice()]),
        };
        let keeping = AbortOnDropHandle::new(tokio::spawn(keeping.run()));
        Ok(Self { state, wanted, upkeep, _upkeep: Arc::new(keeping) })
    }

    /// The keys in effect; `None` if they have not been confirmed for too long.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        let reliable = state.confirmed_at.elapsed() <= self.upkeep.unconfirmed_max;
        reliable.then(|| Arc::clone(&state.keys))
    }

    /// Has the source looked at, and waits until it was, unless it was just now.
    ///
    /// All who wait at a time wait for the same look.
    pub(super) async fn look(&self) {
        let mut state = self.state.clone();
        let looks = {
            let state = state.borrow_and_update();
            if state.looked_at.elapsed() < self.upkeep.refresh_pause_min {
                return;
            }
            state.looks
        };
        self.wanted.notify_one();
        // It ends in error only with the upkeep, which ends with the last handle.
        let _ = state.wait_for(|state| state.looks != looks).await;
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
}

impl Keeping {
    async fn run(mut self) {
        loop {
            let asked = timeout(self.upkeep.refresh_interval, self.wanted.notified()).await.is_ok();
            // Whoever asked while the last look was under way was answered by it.
            let recent = self.state.borrow().looked_at.elapsed() < self.upkeep.refresh_pause_min;
            if !(asked && recent) {
                self.look().await;
            }
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
            state.looks += 1;
            state.looked_at = Instant::now();
            if confirmed || new.is_some() {
                state.confirmed_at = state.looked_at;
            }
            if let Some(keys) = new {
                state.keys = Arc::new(keys);
            }
        });
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
