//! The servers of a bank, and which of them gets a call.
//!
//! Servers that write to one account compete for it: each decides on what it has read, and all but one of them decide
//! again. So the calls for an account go to one server, chosen by rendezvous hashing of its route and the URLs of the
//! servers: whoever names the same URLs makes the same choice, and a server that is added or lost moves only the routes
//! that it takes or had. This makes calls faster. No result depends on it.
//!
//! A server that cannot be reached, or says that it is unavailable, is avoided for a while, and its routes go to the next
//! one in their order. Then one call tries it again, while all others still avoid it.

use std::{
    cmp::Reverse,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tonic::transport::Channel;
use xxhash_rust::xxh64::xxh64;

use crate::{Error, method::Stub};

/// How long a server is avoided after a failure, at least; and at most, so that not all clients return at once.
const AVOIDED_MIN: Duration = Duration::from_millis(500);
const AVOIDED_MAX: Duration = Duration::from_millis(1_500);

/// The part of an account id that decides which server gets its calls: up to the first `:`, or all of it.
pub(crate) fn route(account_id: &str) -> Option<&str> {
    account_id.split(':').next().filter(|route| !route.is_empty())
}

/// The servers of one bank, at least one.
pub(crate) struct Servers {
    all: Vec<Server>,
    /// Where calls without a route begin.
    turn: AtomicUsize,
}

/// One server, with connections that take turns.
pub(crate) struct Server {
    url: String,
    channels: Vec<Channel>,
    turn: AtomicUsize,
    /// None while it is not avoided.
    avoided_until: Mutex<Option<Instant>>,
}

impl Servers {
    pub(crate) fn new(all: Vec<Server>) -> Self {
        Self { all, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Server] {
        &self.all
    }

    /// The server for a call: the first one in the order of the route that is not avoided. Calls without a route take
    /// turns. If all are avoided, the order alone decides.
    pub(crate) fn choose(&self, route: Option<&str>) -> &Server {
        let mut order: Vec<_> = self.all.iter().collect();
        if order.len() > 1 {
            match route {
                Some(route) => order.sort_by_cached_key(|server| Reverse((server.score(route), &server.url))),
                None => order.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len()),
            }
        }
        let now = Instant::now();
        order.iter().find(|server| server.may_be_tried(now)).unwrap_or(&order[0])
    }

    /// Whether a call that one server has failed can go to another one now.
    pub(crate) fn has_other(&self) -> bool {
        let now = Instant::now();
        self.all.len() > 1 && self.all.iter().any(|server| !server.is_avoided(now))
    }
}

impl Server {
    pub(crate) fn new(url: String, channels: Vec<Channel>) -> Self {
        Self { url, channels, turn: AtomicUsize::new(0), avoided_until: Mutex::default() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next connection in turn.
    pub(crate) fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }

    /// The stub of that connection.
    pub(crate) fn stub(&self) -> Stub {
        Stub::new(self.channel())
    }

    /// Begins an attempt that may take so long.
    pub(crate) fn attempt(&self, timeout: Option<Duration>) -> Attempt<'_> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Attempt { server: self, deadline, has_ended: false }
    }

    /// Sends its calls to the others for a while.
    pub(crate) fn avoid(&self) {
        *self.avoided_until() = Some(Instant::now() + rand::random_range(AVOIDED_MIN..=AVOIDED_MAX));
    }

    fn is_avoided(&self, now: Instant) -> bool {
        self.avoided_until().is_some_and(|until| now < until)
    }

    /// Whether a call may go to it. One that tries it again after a failure keeps the others away for as long as that may
    /// take.
    fn may_be_tried(&self, now: Instant) -> bool {
        let mut avoided_until = self.avoided_until();
        match *avoided_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                *avoided_until = Some(now + AVOIDED_MAX);
                true
            }
        }
    }

    fn avoided_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing panics while it is held.
        self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much a route prefers this server: XXH64 of the route, seeded with that of the URL. It is the same in every
    /// process and version.
    fn score(&self, route: &str) -> u64 {
        xxh64(route.as_bytes(), xxh64(self.url.as_bytes(), 0))
    }
}

/// A call that a server is working on. One that is dropped at its deadline has had no answer from the server.
pub(crate) struct Attempt<'a> {
    server: &'a Server,
    deadline: Option<Instant>,
    has_ended: bool,
}

impl Attempt<'_> {
    pub(crate) fn server(&self) -> &Server {
        self.server
    }

    /// Notes how it ended.
    pub(crate) fn ended<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.has_ended = true;
        match &result {
            Err(error) if is_failure_of_server(error) => self.server.avoid(),
            _ => *self.server.avoided_until() = None,
        }
        result
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !self.has_ended && is_late {
            self.server.avoid();
        }
    }
}

/// Whether another server may do better.
pub(crate) fn is_failure_of_server(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::ConnectionLost(_) | Error::OutcomeUnknown { .. })
}

#[cfg(test)]
mod tests;
