//! The clock of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bank_domain::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::source::Clock;

/// Includes the time that the machine is suspended, as the wall clock does: the two are compared.
#[cfg(any(target_os = "linux", target_os = "android"))]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STEADY: ClockId = ClockId::Monotonic;

/// The clock of this machine. Reading it needs no system call.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Never before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since_epoch.as_millis()).ok();
        time.and_then(|unix_ms| Timestamp::try_from_unix_ms(unix_ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn steady(&self) -> Duration {
        clock_gettime(STEADY).try_into().unwrap_or_default()
    }
}
