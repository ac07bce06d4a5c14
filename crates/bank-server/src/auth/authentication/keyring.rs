//! The keys in effect, refreshed from their source.
//!
//! The source is read at an interval, and at once when a token names an unknown key, but not more often than allowed.
//! Contents that cannot be read or used are logged once, and the previous keys stay in effect, up to a maximum age.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    keys::{InvalidKeys, KeySet},
    rejection::TokenRejection,
    source::Source,
};
use crate::files::Fingerprint;

/// How much too early a timer may fire.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// How keys are refreshed from their source.
#[derive(Clone, Debug)]
pub struct KeyRefreshOptions {
    /// How long a read of the source may take.
    pub read_timeout: Duration,
    /// The pause between two reads.
    pub refresh_interval: Duration,
    /// The shortest pause between two reads that tokens with an unknown key cause.
    pub refresh_pause_min: Duration,
    /// How long keys are used while their source cannot be read.
    pub unconfirmed_max: Duration,
}

/// A handle to the keys in effect; cheap to clone. They are refreshed while there is one.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    shared: Arc<Shared>,
    _refreshing: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    options: KeyRefreshOptions,
    state: watch::Sender<State>,
    refresher: Mutex<KeyRefresher>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<KeySet>,
    /// When the source last had these keys.
    confirmed_at: Instant,
}

impl Keyring {
    /// Reads the keys, and starts to refresh them.
    pub(super) async fn open(source: Source, options: KeyRefreshOptions) -> anyhow::Result<Self> {
        let contents = source.read().await?;
        let (keys, unusable) = parse(&source, &contents)?;
        if keys.is_empty() {
            return Err(anyhow!("{} {}", source.place(), InvalidKeys::NoneUsable(unusable)));
        }
        let fingerprint = Fingerprint::of([contents.as_slice()]);
        let refresher = KeyRefresher {
            source,
            last_read: Ok(fingerprint),
            in_effect: fingerprint,
            requested_at: None,
            has_expired: false,
        };
        let state = State { keys: Arc::new(keys), confirmed_at: Instant::now() };
        let shared =
            Arc::new(Shared { options, state: watch::Sender::new(state), refresher: Mutex::new(refresher) });
        let refreshing = Arc::clone(&shared);
        let refreshing = tokio::spawn(async move {
            loop {
                sleep(refreshing.options.refresh_interval).await;
                refreshing.refresher.lock().await.refresh(&refreshing).await;
            }
        });
        Ok(Self { shared, _refreshing: Arc::new(AbortOnDropHandle::new(refreshing)) })
    }

    /// The keys in effect; `None` if they have been unconfirmed for too long.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.shared.state.borrow();
        self.shared.is_confirmed(&state).then(|| Arc::clone(&state.keys))
    }

    /// Waits until a key is no longer accepted, and returns why.
    pub(super) async fn withdrawn(&self, key: Fingerprint) -> TokenRejection {
        let mut state = self.shared.state.subscribe();
        loop {
            let confirmed_at = {
                let state = state.borrow_and_update();
                if !self.shared.is_confirmed(&state) {
                    return TokenRejection::KeysUnavailable;
                }
                if !state.keys.contains(key) {
                    return TokenRejection::KeyWithdrawn;
                }
                state.confirmed_at
            };
            // Until the next read, or until the keys are too old. The sender lives as long as this.
            match confirmed_at.checked_add(self.shared.options.unconfirmed_max + TIMER_TICK) {
                Some(expires_at) => drop(timeout_at(expires_at, state.changed()).await),
                None => drop(state.changed().await),
            }
        }
    }

    /// Reads the source for an unknown key, unless that was just done, and waits for it. Concurrent callers share a
    /// read.
    pub(super) async fn look_for(&self, id: &str) {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        // A task, so that a caller who leaves does not cancel a read that others wait for.
        let read = tokio::spawn(async move {
            let mut refresher = shared.refresher.lock().await;
            let is_known = shared.state.borrow().keys.find(Some(&id)).is_some();
            let pause = shared.options.refresh_pause_min;
            if is_known || refresher.requested_at.is_some_and(|at| at.elapsed() < pause) {
                return;
            }
            refresher.requested_at = Some(Instant::now());
            refresher.refresh(&shared).await;
        });
        // An error means that the server stops.
        let _ = read.await;
    }
}

impl Shared {
    fn is_confirmed(&self, state: &State) -> bool {
        state.confirmed_at.elapsed() <= self.options.unconfirmed_max
    }
}

#[derive(Debug)]
struct KeyRefresher {
    source: Source,
    /// The result of the last read, so that nothing is logged twice.
    last_read: Result<Fingerprint, String>,
    in_effect: Fingerprint,
    /// When a token with an unknown key last caused a read.
    requested_at: Option<Instant>,
    /// Whether it was logged that the keys are too old.
    has_expired: bool,
}

impl KeyRefresher {
    async fn refresh(&mut self, shared: &Shared) {
        let contents = self.source.read().await;
        let read = match &contents {
            Ok(contents) => Ok(Fingerprint::of([contents.as_slice()])),
            Err(error) => Err(format!("{error:#}")),
        };
        let is_same = read.as_ref() == Ok(&self.in_effect);
        let mut new = None;
        if read != self.last_read {
            if is_same {
                tracing::info!(source = self.source.place(), "the keys can be read again");
            } else {
                new = self.replace(contents);
            }
        }
        if let (Some(_), Ok(fingerprint)) = (&new, &read) {
            self.in_effect = *fingerprint;
        }
        self.last_read = read;
        shared.state.send_modify(|state| {
            if is_same || new.is_some() {
                state.confirmed_at = Instant::now();
            }
            if let Some(keys) = new {
                state.keys = Arc::new(keys);
            }
        });
        let has_expired = !shared.is_confirmed(&shared.state.borrow());
        if has_expired && !self.has_expired {
            tracing::error!(
                "the keys have not been confirmed for too long: no token is accepted until they are"
            );
        }
        self.has_expired = has_expired;
    }

    /// The new keys, if they can be used.
    fn replace(&self, contents: anyhow::Result<Vec<u8>>) -> Option<KeySet> {
        let source = self.source.place();
        let parsed = contents.and_then(|contents| parse(&self.source, &contents));
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
                tracing::error!("the previous keys stay in effect for now: {error:#}");
                None
            }
        }
    }
}

/// The keys in contents, and why others cannot be used, which is logged here.
fn parse(source: &Source, contents: &[u8]) -> anyhow::Result<(KeySet, Vec<String>)> {
    let parsed = KeySet::parse(source.format, contents);
    let (keys, unusable) = parsed.map_err(|reason| anyhow!("{} {reason}", source.place()))?;
    for reason in &unusable {
        tracing::warn!(source = source.place(), reason, "a key is ignored");
    }
    Ok((keys, unusable))
}
