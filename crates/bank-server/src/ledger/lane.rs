//! One lane: the commands that wait on it, and the work of its sequencer.
//!
//! The work is one future. A task of its own drives it; but a caller who is alone takes it a step further in the
//! task's place, if the sequencer waits for a command. A store in memory has then committed before the
//! caller would wait, and a store that is elsewhere is already asked: nobody is woken for it. It stays the
//! task that is woken, so a caller who leaves takes nothing along.
//!
//! Where there are others, the task lets those that can run queue their commands first. Nothing is waited
//! for, and many commands that go through the same code together cost less than one after the other.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::future::BoxFuture;
use tokio::task::yield_now;

use super::{Error, submission::Submission};
use crate::metrics::Metrics;

/// Where commands are queued; cheap to clone.
#[derive(Clone)]
pub(super) struct Lane {
    queue: Arc<Queue>,
    work: Arc<Work>,
}

/// Where they are taken out.
pub(super) struct Commands {
    queue: Arc<Queue>,
}

/// Does the work of a lane until it is over.
pub(super) struct Driver {
    work: Arc<Work>,
}

struct Queue {
    metrics: Arc<Metrics>,
    commands_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Submission>,
    is_closed: bool,
    /// How many commands the sequencer waits for, or has waited for last.
    awaited: Option<usize>,
    /// Wakes the driver, once it has begun.
    driver: Option<Waker>,
    /// While somebody else does the work: how often commands may still be taken out for it.
    turns_left: Option<u32>,
}

/// None once it is over.
struct Work(Mutex<Option<BoxFuture<'static, ()>>>);

impl Lane {
    /// A lane on which so many commands may wait, with the work to be done on it.
    pub(super) fn new<W: Future<Output = ()> + Send + 'static>(
        commands_max: usize,
        metrics: Arc<Metrics>,
        work: impl FnOnce(Commands) -> W,
    ) -> (Self, Driver) {
        let queue = Arc::new(Queue { metrics, commands_max, state: Mutex::default() });
        let work = Box::pin(work(Commands { queue: Arc::clone(&queue) }));
        let work = Arc::new(Work(Mutex::new(Some(work))));
        (Self { queue, work: Arc::clone(&work) }, Driver { work })
    }

    /// Queues commands one after the other, with no others in between; `alone` if no others are on their way.
    pub(super) fn push(
        &self,
        commands: impl IntoIterator<Item = Submission, IntoIter: ExactSizeIterator>,
        alone: bool,
    ) -> Result<(), Error> {
        let Some(driver) = self.queue.push(commands.into_iter())? else { return Ok(()) };
        if !alone {
            driver.wake();
            return Ok(());
        }
        let mut work = self.work.lock();
        self.queue.state().turns_left = Some(1);
        let done = work.poll(&mut Context::from_waker(&driver));
        self.queue.state().turns_left = None;
        drop(work);
        if done.is_ready() {
            driver.wake();
        }
        Ok(())
    }

    /// Lets nothing more in. The work is over once all that waits is done.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Queue {
    /// Returns what wakes the driver if that waits for no more.
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

    /// False: there are not so many, and will not be.
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
        match &mut state.turns_left {
            // There is more than whoever helps came with.
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
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commands {
    /// Waits until there is a command to be taken. False: there are none, and will be none.
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
            if !was_idle || !is_more || self.queue.state().turns_left.is_some() {
                return is_more;
            }
            yield_now().await;
            was_idle = false;
        }
    }

    /// Waits until there are so many commands to be taken, for ever if there never will be.
    ///
    /// Cancel safe.
    pub(super) async fn wait_for(&mut self, count: usize) {
        poll_fn(|context| match self.queue.poll_wait(count, context) {
            Poll::Ready(true) => Poll::Ready(()),
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        })
        .await;
    }

    /// Takes commands out.
    pub(super) fn take<T>(&mut self, take: impl FnOnce(&mut VecDeque<Submission>) -> T) -> T {
        take(&mut self.queue.state().commands)
    }
}

impl Drop for Commands {
    /// If the sequencer fails, those who wait must hear of it.
    fn drop(&mut self) {
        self.queue.close();
        let left = std::mem::take(&mut self.queue.state().commands);
        drop(left);
    }
}

impl Work {
    fn lock(&self) -> Doing<'_> {
        Doing(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The work in the hands of whoever does it.
struct Doing<'a>(MutexGuard<'a, Option<BoxFuture<'static, ()>>>);

impl Doing<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Taken out meanwhile: if it panics, it is over.
        let Some(mut work) = self.0.take() else { return Poll::Ready(()) };
        let done = work.as_mut().poll(context);
        if done.is_pending() {
            *self.0 = Some(work);
        }
        done
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.work.lock().poll(context)
    }
}
