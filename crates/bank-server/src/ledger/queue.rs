//! The queue of one lane. What it holds is bounded in commands, however many of them come at once.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{Semaphore, TryAcquireError, mpsc};

use super::{Error, submission::Submission};

/// Where commands are queued; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Queued>,
    /// One for each command that may still be queued.
    places: Arc<Semaphore>,
    commands_max: usize,
}

/// Where they are taken out.
#[derive(Debug)]
pub(super) struct Commands {
    receiver: mpsc::UnboundedReceiver<Queued>,
    places: Arc<Semaphore>,
    /// Those of batches that were taken in part.
    taken: VecDeque<Submission>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most are of one command, and a box costs more than a move")]
enum Queued {
    One(Submission),
    Batch(Vec<Submission>),
}

/// A queue that so many commands may wait in.
pub(super) fn bounded(commands_max: usize) -> (Queue, Commands) {
    let commands_max = commands_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(commands_max));
    let (sender, receiver) = mpsc::unbounded_channel();
    let commands = Commands { receiver, places: Arc::clone(&places), taken: VecDeque::new() };
    (Queue { sender, places, commands_max }, commands)
}

impl Queue {
    /// Queues one command.
    pub(super) fn push(&self, submission: Submission) -> Result<(), Error> {
        self.send(Queued::One(submission), 1)
    }

    /// Queues commands one after the other, with no others in between.
    pub(super) fn push_all(&self, submissions: Vec<Submission>) -> Result<(), Error> {
        let count = submissions.len();
        self.send(Queued::Batch(submissions), count)
    }

    fn send(&self, queued: Queued, count: usize) -> Result<(), Error> {
        let full = Error::QueueFull { commands_max: self.commands_max };
        let Ok(wanted) = u32::try_from(count) else { return Err(full) };
        match self.places.try_acquire_many(wanted) {
            // Given back when they are taken out.
            Ok(places) => places.forget(),
            Err(TryAcquireError::NoPermits) => return Err(full),
            Err(TryAcquireError::Closed) => return Err(Error::ShuttingDown),
        }
        self.sender.send(queued).map_err(|_| Error::ShuttingDown)
    }
}

impl Commands {
    /// Waits until there is a command to be taken. False: there are none, and will be none.
    ///
    /// Cancel safe.
    pub(super) async fn wait(&mut self) -> bool {
        if self.taken.is_empty() {
            match self.receiver.recv().await {
                Some(queued) => self.take_in(queued),
                None => return false,
            }
        }
        true
    }

    /// Takes out the next command, if there is one.
    pub(super) fn next(&mut self) -> Option<Submission> {
        if self.taken.is_empty()
            && let Ok(queued) = self.receiver.try_recv()
        {
            self.take_in(queued);
        }
        let next = self.taken.pop_front()?;
        self.places.add_permits(1);
        Some(next)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    /// Lets nothing more in.
    pub(super) fn close(&mut self) {
        self.receiver.close();
        self.places.close();
    }

    fn take_in(&mut self, queued: Queued) {
        match queued {
            Queued::One(submission) => self.taken.push_back(submission),
            Queued::Batch(submissions) => self.taken.extend(submissions),
        }
    }
}
