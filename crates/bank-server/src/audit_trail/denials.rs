//! Denials, within bounds: a caller cannot fill the audit trail, and each of their denials is counted.
//!
//! The first denials of a caller are events of their own. Beyond [`Quota`], they are counted, and one event says how
//! many there were: with the next that is written, at the next flush, when the caller is forgotten, or when the
//! server stops. So `times`, summed up over the events, is the number of denials.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Mutex, MutexGuard, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;
use tonic::Code;

use super::{Event, Kind};
use crate::network::network_of;

/// How many callers are remembered, each with each kind of denial. One takes about 300 bytes.
const CALLERS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// How many denials of one caller are written one by one in a second, in the long run.
const PER_SECOND_MAX: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// How many more after a pause.
const BURST_MAX: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// The denials that have not been written, and how fast others may be.
#[derive(Debug)]
pub(super) struct Denials(Mutex<LruCache<Denied, Count>>);

/// Who is denied what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Denied {
    kind: Kind,
    subject: String,
    /// Where they call from, if nothing else is known of them.
    network: Option<IpAddr>,
}

#[derive(Debug)]
struct Count {
    rate: DefaultDirectRateLimiter,
    /// How many have not been written.
    unwritten: u64,
    /// Of the last of those.
    peer: Option<SocketAddr>,
    method: &'static str,
    outcome: Code,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(CALLERS_MAX)))
    }

    /// Counts a denial, and hands what is to be written now to `write`.
    pub(super) fn count(&self, event: Event<'_>, mut write: impl FnMut(Event<'_>)) {
        let Event { kind, subject, peer, method, outcome, .. } = event;
        let network = if subject.is_empty() { peer.map(|peer| network_of(peer.ip())) } else { None };
        let denied = Denied { kind, subject: subject.to_owned(), network };
        let mut known = self.known();
        if !known.contains(&denied)
            && let Some((denied, mut count)) = known.push(denied.clone(), Count::of(kind))
        {
            count.write_rest(&denied, &mut write);
        }
        let Some(count) = known.get_mut(&denied) else { return };
        count.unwritten += event.times;
        (count.peer, count.method, count.outcome) = (peer, method, outcome);
        if count.rate.check().is_ok() {
            write(Event { times: std::mem::take(&mut count.unwritten), ..event });
        }
    }

    /// Hands all that has not been written to `write`.
    pub(super) fn flush(&self, mut write: impl FnMut(Event<'_>)) {
        for (denied, count) in self.known().iter_mut() {
            count.write_rest(denied, &mut write);
        }
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Denied, Count>> {
        // Nothing here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn of(kind: Kind) -> Self {
        let quota = match kind {
            // One is like the other.
            Kind::RateLimited => Quota::per_second(NonZeroU32::MIN),
            _ => Quota::per_second(PER_SECOND_MAX).allow_burst(BURST_MAX),
        };
        let rate = DefaultDirectRateLimiter::direct(quota);
        Self { rate, unwritten: 0, peer: None, method: "", outcome: Code::Ok }
    }

    fn write_rest(&mut self, denied: &Denied, write: &mut impl FnMut(Event<'_>)) {
        let times = std::mem::take(&mut self.unwritten);
        if times > 0 {
            let Self { peer, method, outcome, .. } = *self;
            let event =
                Event { subject: &denied.subject, peer, times, ..Event::new(denied.kind, method, outcome) };
            write(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(kind: Kind, subject: &str) -> Event<'_> {
        Event {
            subject,
            peer: Some("10.0.0.1:1".parse().unwrap()),
            ..Event::new(kind, "Deposit", Code::PermissionDenied)
        }
    }

    /// What is written: whose, and how many each event stands for.
    #[derive(Default)]
    struct Written(Vec<(String, u64)>);

    impl Written {
        fn add(&mut self, event: Event<'_>) {
            self.0.push((event.subject.to_owned(), event.times));
        }

        fn total(&self, subject: &str) -> u64 {
            self.0.iter().filter(|(of, _)| of == subject).map(|(_, times)| times).sum()
        }
    }

    #[test]
    fn the_first_are_written_one_by_one_the_others_are_counted_and_none_is_lost() {
        let (denials, mut written) = (Denials::new(), Written::default());
        for _ in 0..5_000 {
            denials.count(denial(Kind::PermissionDenied, "alice"), |event| written.add(event));
        }
        assert!(written.0.len() < 500, "{}", written.0.len());
        assert!(written.0[..100].iter().all(|(_, times)| *times == 1), "{:?}", written.0);
        denials.count(denial(Kind::PermissionDenied, "bob"), |event| written.add(event));
        assert_eq!(written.0.last(), Some(&("bob".to_owned(), 1)), "nobody is hidden by somebody else");
        denials.count(denial(Kind::Concealed, "alice"), |event| written.add(event));
        assert_eq!(written.0.last(), Some(&("alice".to_owned(), 1)), "nor one kind by another");
        denials.flush(|event| written.add(event));
        assert_eq!(written.total("alice"), 5_001);
        let before = written.0.len();
        denials.flush(|event| written.add(event));
        assert_eq!(written.0.len(), before, "there is nothing left");
    }

    #[test]
    fn who_is_forgotten_leaves_their_count() {
        let denials = Denials(Mutex::new(LruCache::new(NonZeroUsize::MIN)));
        let mut written = Written::default();
        for _ in 0..3 {
            denials.count(denial(Kind::RateLimited, "alice"), |event| written.add(event));
        }
        denials.count(denial(Kind::RateLimited, "bob"), |event| written.add(event));
        assert_eq!((written.total("alice"), written.total("bob")), (3, 1));
    }

    #[test]
    fn strangers_are_told_apart_by_their_networks() {
        let (denials, mut written) = (Denials::new(), Vec::new());
        for peer in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"] {
            let event = Event { peer: Some(peer.parse().unwrap()), ..denial(Kind::RateLimited, "") };
            denials.count(event, |event| written.push(event.peer.unwrap().to_string()));
        }
        assert_eq!(written, ["10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"]);
    }
}
