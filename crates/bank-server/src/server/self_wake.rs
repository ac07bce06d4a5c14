//! Wake-ups of a task by what it polls itself.
//!
//! A connection polls HTTP/2 and its calls, which wake each other. Waking a task while it runs would have the runtime
//! schedule it again, which wakes another thread that finds nothing to do. So a wake-up during the poll, from the thread
//! that polls, only sets a flag, and the poll goes round once more.
//!
//! No wake-up is lost:
//!
//! * A wake-up from another thread, or after the poll, goes to the task. Its waker is registered before the first round.
//! * A wake-up from the polling thread sets the flag. It is cleared before a round and checked after it, and only this
//!   thread touches it. If it is set, there is another round, or a wake-up of the task if `may_continue` says no.
//!
//! `tests/loom.rs` checks this for every interleaving.

use std::{
    cell::Cell,
    ptr,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use super::sync::{AtomicBool, AtomicWaker, Ordering::Relaxed, POLLED};

/// The wake-ups of one task; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct SelfWake(Arc<State>);

#[derive(Default)]
struct State {
    task: AtomicWaker,
    is_woken: AtomicBool,
}

/// Marks the task as polled by this thread until it is dropped.
struct Polling;

impl Polling {
    fn begin(state: &Arc<State>) -> Self {
        POLLED.with(|polled| polled.set(Arc::as_ptr(state).cast()));
        Self
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLED.with(|polled| polled.set(ptr::null()));
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if POLLED.with(Cell::get) == Arc::as_ptr(self).cast() {
            self.is_woken.store(true, Relaxed);
        } else {
            self.task.wake();
        }
    }
}

impl SelfWake {
    /// Polls `round` until it is ready, or nothing in it has woken the task, or `may_continue` says no.
    pub(super) fn poll<T>(
        &self,
        task: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
        may_continue: impl Fn() -> bool,
    ) -> Poll<T> {
        let Self(state) = self;
        state.task.register(task.waker());
        let waker = Waker::from(Arc::clone(state));
        let _polling = Polling::begin(state);
        loop {
            state.is_woken.store(false, Relaxed);
            let polled = round(&mut Context::from_waker(&waker));
            if polled.is_ready() || !state.is_woken.load(Relaxed) {
                return polled;
            }
            if !may_continue() {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}
