//! The thread that writes.
//!
//! All writes go through one thread, so no async task waits for the disk, and a write continues when its caller is gone.
//! The thread also reopens the file after a failed write, until that succeeds.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::{
    commit::{After, Before},
    database::OpenFile,
};
use crate::StoreError;

/// How many writes may wait for the thread. A server has at most two commits in flight.
const WRITES_WAITING_MAX: usize = 1024;
/// The minimum pause between two attempts to reopen the file.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce(&OpenFile) + Send>;

/// The handle of the thread. Dropping it waits for queued writes and closes the file.
pub(super) struct Writer {
    /// `None` only while it is dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<OpenFile>) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(WRITES_WAITING_MAX);
        let thread = thread::Builder::new()
            .name("bank-writer".to_owned())
            .spawn(move || run(&file, &queue))
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and commits it durably.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction, Before<'_>) -> Result<(T, After), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|file| file.transact(work)).await
    }

    /// Runs `work` on the thread, after everything that is queued.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OpenFile) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |file| {
            // The caller may be gone, which does not matter.
            let _ = reply.send(work(file));
        });
        let gone = || StoreError::OutcomeUnknown("the writer thread has ended".to_owned());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Unavailable("too many writes wait for the disk".to_owned()),
            TrySendError::Disconnected(_) => gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Closes the file, after everything that is queued.
    pub(super) async fn close(&self) {
        let close = |file: &OpenFile| {
            file.close();
            Ok(())
        };
        if let Err(error) = self.run(close).await {
            tracing::warn!(%error, "the file of the bank was not closed cleanly");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported.
            let _ = thread.join();
        }
    }
}

fn run(file: &OpenFile, jobs: &Receiver<Job>) {
    let mut next_attempt_at = Instant::now();
    let mut last_error = None;
    loop {
        let job = if file.has_failed() {
            let pause = next_attempt_at.saturating_duration_since(Instant::now());
            if pause.is_zero() { Err(RecvTimeoutError::Timeout) } else { jobs.recv_timeout(pause) }
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match job {
            Ok(job) => job(file),
            Err(RecvTimeoutError::Timeout) => {
                let started_at = Instant::now();
                let error = file.reopen().err();
                match &error {
                    None => tracing::info!(file = file.name(), "the file is open again"),
                    Some(_) if error == last_error => {}
                    Some(error) => {
                        tracing::error!(file = file.name(), %error, "the file cannot be opened again yet");
                    }
                }
                last_error = error;
                // An attempt may read the whole file, so at most half of the time is spent on them.
                next_attempt_at = Instant::now() + started_at.elapsed().max(REOPEN_PAUSE_MIN);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    file.close();
}
