//! How long a reply of a primary is valid.
//!
//! A primary that was frozen executes the commands in its sockets, replies OK and calls itself the primary, although another
//! was promoted meanwhile: what it acknowledges is lost. Sentinel promotes another only once a primary has been silent for
//! `down-after-milliseconds`, and a cluster after `cluster-node-timeout`. So a primary that has replied on a connection more recently than that cannot have been
//! replaced in between. Each accepted reply proves that the primary was alive when its command was sent. A reply that comes
//! later than a failover takes is discarded, and so is every later one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::options::RedisOptions;
use crate::clock::Timekeeper;

/// How much sooner than Sentinel or the cluster we consider a primary silent: for the latency of its commands, and for
/// differences between clocks.
const FAILOVER_MARGIN: Duration = Duration::from_millis(500);

/// How long a primary must be allowed to be silent before it is replaced: between two signs of its life there may be the
/// interval of the watchdog, and a command that takes its time.
pub(super) fn silence_min(options: &RedisOptions) -> Duration {
    options.command_timeout + options.watchdog_interval + FAILOVER_MARGIN
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    InTime,
    /// Later than the command timeout.
    Late,
    /// So late that another primary may have taken over.
    PossiblyReplaced,
}

/// The signs of life on one connection. Its clock continues while this process, or the machine, is suspended.
pub(super) struct Lease {
    clock: Timekeeper,
    command_timeout: Duration,
    /// How soon Sentinels or a cluster replace a silent primary; `None` if nobody does.
    down_after_ms: Option<Arc<AtomicU64>>,
    /// When the newest command that has a reply was sent, by the steady clock.
    alive_at_ms: AtomicU64,
}

impl Lease {
    /// For a connection that is opened now.
    pub(super) fn new(
        clock: &Timekeeper,
        command_timeout: Duration,
        down_after_ms: Option<Arc<AtomicU64>>,
    ) -> Self {
        let alive_at_ms = AtomicU64::new(milliseconds(clock.steady()));
        Self { clock: clock.clone(), command_timeout, down_after_ms, alive_at_ms }
    }

    /// The time to pass to [`Lease::judge`] for a command that is sent now.
    pub(super) fn now_ms(&self) -> u64 {
        milliseconds(self.clock.steady())
    }

    /// Judges a reply that comes now to a command that was sent then.
    pub(super) fn judge(&self, sent_at_ms: u64) -> Verdict {
        let now_ms = self.now_ms();
        if let Some(down_after_ms) = &self.down_after_ms {
            let silence_ms_max =
                down_after_ms.load(Ordering::SeqCst).saturating_sub(milliseconds(FAILOVER_MARGIN));
            if now_ms.saturating_sub(self.alive_at_ms.load(Ordering::SeqCst)) > silence_ms_max {
                return Verdict::PossiblyReplaced;
            }
        }
        // Replies come in the order of their commands, but are judged in any.
        self.alive_at_ms.fetch_max(sent_at_ms, Ordering::SeqCst);
        let is_late = now_ms.saturating_sub(sent_at_ms) > milliseconds(self.command_timeout);
        if is_late { Verdict::Late } else { Verdict::InTime }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
