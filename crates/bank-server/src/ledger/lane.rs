//! One lane: a queue of commands, and the sequencer that works through it.
//!
//! The sequencer is one future, which a task of its own drives.
//!
//! **Inline execution.** A caller with no other call in flight polls that future itself, if the sequencer waits for a
//! command. A store in memory has then committed before the caller would wait, and a remote store has been asked, without
//! waking another task. The waker remains that of the task, so a caller that leaves interrupts nothing.
//!
//! With other calls in flight, the task first yields, so that they can queue their commands. Nothing is waited for, and
//! many commands that run through the same code together cost less than one after the other.
//!
//! No wake-up is lost:
//!
//! * The sequencer registers the driver's waker under the lock under which it has found too few commands. Whoever queues
//!   the last of them afterwards takes `awaited`, and wakes the driver or polls in its place.
//! * Whoever polls in the driver's place holds the lock of the sequencer. The driver waits for that lock when it is woken
//!   meanwhile, and then polls. A sequencer that has used up its inline turns wakes the driver.
//!
//! `tests/loom.rs` checks this for every interleaving.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::future::BoxFuture;
use tokio::task::yield_now;

use super::{
    error::Error,
    submission::Submission,
    sync::{Mutex, MutexGuard},
};
use crate::metrics::Metrics;

/// Where commands are queued; cheap to clone.
#[derive(Clone)]
pub(super) struct Lane {
    queue: Arc<Queue>,
    work: Arc<Work>,
}

/// The end of the queue that the sequencer takes commands from.
pub(super) struct Commands {
    queue: Arc<Queue>,
}

/// The sequencer; `None` once it has ended or panicked.
type Work = Mutex<Option<BoxFuture<'static, ()>>>;

struct Queue {
    metrics: Arc<Metrics>,
    commands_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Submission>,
    is_closed: bool,
    /// How many commands the sequencer waits for.
    awaited: Option<usize>,
    /// Wakes the driver; `None` until the sequencer has waited once.
    driver: Option<Waker>,
    /// During inline execution: how often the sequencer may still go on with new commands.
    inline_turns_left: Option<u32>,
}

impl Lane {
    /// A lane with a bounded queue, and the future that drives its sequencer until it ends. `work` makes the sequencer, given
    /// the commands.
    pub(super) fn new<W: Future<Output = ()> + Send + 'static>(
        commands_max: usize,
        metrics: Arc<Metrics>,
        work: impl FnOnce(Commands) -> W,
    ) -> (Self, BoxFuture<'static, ()>) {
        let queue = Arc::new(Queue { metrics, commands_max, state: Mutex::new(State::default()) });
        let work = Box::pin(work(Commands { queue: Arc::clone(&queue) }));
        let work: Arc<Work> = Arc::new(Mutex::new(Some(work)));
        let lane = Self { queue, work: Arc::clone(&work) };
        (lane, Box::pin(poll_fn(move |context| poll_work(&mut lock(&work), context))))
    }

    /// Queues commands in one piece. `inline` lets the sequencer run in the caller's task.
    pub(super) fn push(
        &self,
        commands: impl IntoIterator<Item = Submission, IntoIter: ExactSizeIterator>,
        inline: bool,
    ) -> Result<(), Error> {
        let Some(driver) = self.queue.push(commands.into_iter())? else { return Ok(()) };
        if !inline {
            driver.wake();
            return Ok(());
        }
        let mut work = lock(&self.work);
        self.queue.state().inline_turns_left = Some(1);
        let polled = poll_work(&mut work, &mut Context::from_waker(&driver));
        self.queue.state().inline_turns_left = None;
        drop(work);
        if polled.is_ready() {
            driver.wake();
        }
        Ok(())
    }

    /// Accepts no more commands. The sequencer ends once all that wait are answered.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Queue {
    /// Returns the waker of the driver, if the sequencer waits for no more commands than there are now.
    fn push(&self, commands: impl ExactSizeIterator<Item = Submission>) -> Result<Option<Waker>, Error> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Error::ShuttingDown);
        }
        if commands.len() > self.commands_max - state.commands.len() {
            return Err(Error::QueueFull { commands_max: self.commands_max });
        }
        self.metrics.commands_queued(commands.len());
        state.commands.extend(commands);
        let count = state.commands.len();
        let is_enough = state.awaited.take_if(|awaited| *awaited <= count).is_some();
        Ok(state.driver.as_ref().filter(|_| is_enough).cloned())
    }

    /// Ready with false: the queue is closed and has fewer commands.
    fn poll_wait(&self, awaited: usize, context: &Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.commands.len() < awaited {
            if state.is_closed {
                return Poll::Ready(false);
            }
            state.awaited = Some(awaited);
            state.driver = Some(context.waker().clone());
            return Poll::Pending;
        }
        match &mut state.inline_turns_left {
            // The rest is for the driver.
            Some(0) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(turns) => *turns -= 1,
            None => {}
        }
        Poll::Ready(true)
    }

    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        if let Some(driver) = &state.driver {
            driver.wake_by_ref();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Commands {
    /// Waits for a command. False: the queue is closed and empty.
    ///
    /// Cancel safe.
    pub(super) async fn wait(&mut self) -> bool {
        let mut was_idle = false;
        loop {
            let is_more = poll_fn(|context| {
                let polled = self.queue.poll_wait(1, context);
                was_idle |= polled.is_pending();
                polled
            });
            let is_more = is_more.await;
            if !was_idle || !is_more || self.queue.state().inline_turns_left.is_some() {
                return is_more;
            }
            yield_now().await;
            was_idle = false;
        }
    }

    /// Waits for this many commands, for ever if the queue is closed before.
    ///
    /// Cancel safe.
    pub(super) async fn wait_for(&mut self, count: usize) {
        poll_fn(|context| match self.queue.poll_wait(count, context) {
            Poll::Ready(true) => Poll::Ready(()),
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        })
        .await;
    }

    /// Gives access to the queued commands.
    pub(super) fn take<T>(&mut self, take: impl FnOnce(&mut VecDeque<Submission>) -> T) -> T {
        take(&mut self.queue.state().commands)
    }
}

impl Drop for Commands {
    /// If the sequencer panics, its callers get an error, since their commands are dropped.
    fn drop(&mut self) {
        self.queue.close();
        let left = std::mem::take(&mut self.queue.state().commands);
        drop(left);
    }
}

/// Polls the sequencer. It is taken out meanwhile: if it panics, it has ended.
fn poll_work(work: &mut Option<BoxFuture<'static, ()>>, context: &mut Context<'_>) -> Poll<()> {
    let Some(mut future) = work.take() else { return Poll::Ready(()) };
    let polled = future.as_mut().poll(context);
    if polled.is_pending() {
        *work = Some(future);
    }
    polled
}

/// A panic while a lock is held leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
