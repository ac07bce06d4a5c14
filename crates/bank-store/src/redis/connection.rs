//! One connection to Redis, bounded in every direction, and what its errors mean.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use fred::{
    clients::{Client, Pipeline},
    error::{Error as FredError, ErrorKind},
    interfaces::ClientLike as _,
};
use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    errors::{Meaning, brief, reply_code},
    lease::{Lease, Verdict},
    sentinel::{Place, Sentinels},
    target::Target,
};
use crate::StoreError;

/// One connection, for as long as it lasts; it does not come back. It is closed with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Client,
    address: Arc<str>,
    /// A place for each command that may wait. The client's own bound is not used: once a command
    /// was turned away by it, the client leaves later ones unsent until something else happens on
    /// the connection.
    places: Arc<Semaphore>,
    driver: Arc<Driver>,
}

/// The task that reads and writes for a client. It would outlive the client.
#[derive(Debug)]
struct Driver {
    task: AbortHandle,
    ended: CancellationToken,
    /// Why it was ended from here, if it was.
    reason: OnceLock<String>,
    is_admitted: AtomicBool,
    lease: Lease,
    /// Where it leads, and who says that the primary is there, if anybody does.
    named: Option<(Place, Arc<Sentinels>)>,
}

/// What the client returns, which may be an answer or an error of its own.
pub(super) trait Answer {
    /// Whether the server has answered.
    fn is_of_server(&self) -> bool;
}

impl<T> Answer for Result<T, FredError> {
    fn is_of_server(&self) -> bool {
        self.as_ref().err().is_none_or(|error| reply_code(error).is_some())
    }
}

impl<T> Answer for Vec<Result<T, FredError>> {
    fn is_of_server(&self) -> bool {
        self.iter().any(Answer::is_of_server)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects, to where the Sentinels say if they are asked.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if trying again cannot help as long as nobody changes anything;
    /// [`StoreError::Unavailable`] otherwise.
    pub(super) async fn open(target: &Target, deadline: Instant) -> Result<Self, StoreError> {
        let Some(sentinels) = target.sentinels() else { return Self::dial(target, None, deadline).await };
        let place = sentinels.primary().await?;
        let target = target.at(&place);
        let connection = Self::dial(&target, Some((place, Arc::clone(sentinels))), deadline).await?;
        // One that was frozen may have been replaced before it let us in.
        connection.confirm().await?;
        Ok(connection)
    }

    /// Connects to a server.
    pub(super) async fn dial(
        target: &Target,
        named: Option<(Place, Arc<Sentinels>)>,
        deadline: Instant,
    ) -> Result<Self, StoreError> {
        let address: Arc<str> = target.address().into();
        let client = target.client()?;
        let lease = Lease::new(&target.options().clock, target.options().command_timeout);
        match timeout_at(deadline, client.init()).await {
            Ok(Ok(task)) => {
                let places = Arc::new(Semaphore::new(target.options().command_buffer_max));
                let ended = CancellationToken::new();
                let driver = Arc::new(Driver {
                    task: task.abort_handle(),
                    ended: ended.clone(),
                    reason: OnceLock::new(),
                    is_admitted: AtomicBool::new(false),
                    lease,
                    named,
                });
                tokio::spawn(async move {
                    let _guard = ended.drop_guard();
                    // However it ended: the connection is gone.
                    let _ = task.await;
                });
                Ok(Self { client, address, places, driver })
            }
            Ok(Err(error)) => Err(match is_final(&error) {
                Some(advice) => StoreError::Misconfigured(format!(
                    "redis at {address} refuses the connection: {}; {advice}",
                    brief(&error)
                )),
                None => StoreError::Unavailable(brief(&error)),
            }),
            Err(_) => {
                // Should it answer yet, nobody is there to close the connection.
                tokio::spawn(async move { client.quit().await });
                Err(StoreError::Unavailable("it does not answer".to_owned()))
            }
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn pipeline(&self) -> Pipeline<Client> {
        self.client.pipeline()
    }

    /// Runs one command or pipeline.
    pub(super) fn run<T>(
        &self,
        command: impl Future<Output = Result<T, FredError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let answer = self.attempt(command);
        async { answer.await?.map_err(|error| self.explain(&error)) }
    }

    /// Runs one command or pipeline, and leaves it to the caller what an answer of Redis means.
    pub(super) fn attempt<T: Answer>(
        &self,
        command: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let answer = self.attempt_at_once(command);
        async {
            let _place = self.places.try_acquire().map_err(|_| {
                StoreError::Unavailable(format!("too many commands wait for redis at {}", self.address))
            })?;
            answer.await
        }
    }

    /// As [`Connection::attempt`], however many commands wait: for those that look after the connection.
    pub(super) fn attempt_at_once<T: Answer>(
        &self,
        command: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // The client's futures are large: on the heap, those that contain them are not.
        let command = Box::pin(command);
        async {
            if self.has_ended() {
                let (address, reason) = (&self.address, self.reason());
                let text = format!("not connected to redis at {address}: {reason}");
                return Err(StoreError::Unavailable(text));
            }
            // It is sent no earlier.
            let sent_at_ms = self.driver.lease.now_ms();
            tokio::select! {
                // The driver answers all that is in flight before it ends; what came after has no answer.
                biased;
                answer = command => {
                    if answer.is_of_server() {
                        self.require_in_time(sent_at_ms)?;
                    }
                    Ok(answer)
                }
                () = self.ended() => {
                    let text = format!("the connection to redis at {} was lost", self.address);
                    Err(StoreError::OutcomeUnknown(text))
                }
            }
        }
    }

    /// The client gives up by itself after a while, but takes an answer that is there when it looks at
    /// last: after this process was stopped, or starved.
    fn require_in_time(&self, sent_at_ms: u64) -> Result<(), StoreError> {
        let silence_ms_max = self.driver.named.as_ref().map(|(_, sentinels)| sentinels.silence_ms_max());
        let reason = match self.driver.lease.judge(sent_at_ms, silence_ms_max) {
            Verdict::InTime => return Ok(()),
            Verdict::Late => "its answer came too late to count",
            Verdict::PerhapsReplaced => {
                let reason = "it was silent for so long that another primary may have taken over";
                self.close(reason);
                reason
            }
        };
        Err(StoreError::OutcomeUnknown(format!("redis at {}: {reason}", self.address)))
    }

    /// Asks the Sentinels, if there are any, whether this still leads to the primary; ends it if not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not, or none of them answers.
    pub(super) async fn confirm(&self) -> Result<(), StoreError> {
        let Some((place, sentinels)) = &self.driver.named else { return Ok(()) };
        let is_primary = sentinels.primaries().await?.contains(place);
        let confirmed = match sentinels.require_patience() {
            Ok(()) if !is_primary => {
                Err(StoreError::Unavailable("the Sentinels name another primary".to_owned()))
            }
            patience => patience,
        };
        if let Err(error) = &confirmed {
            self.close(&error.to_string());
        }
        confirmed
    }

    /// What an error means. One that says that there is a better Redis to ask ends the connection.
    pub(super) fn explain(&self, error: &FredError) -> StoreError {
        let text = format!("redis at {}: {}", self.address, brief(error));
        match Meaning::of(error) {
            Meaning::Elsewhere => {
                self.close(error.details());
                StoreError::Unavailable(text)
            }
            Meaning::NotNow => StoreError::Unavailable(text),
            // What has worked before is being changed, and may be changed back.
            Meaning::Setup(_) if self.driver.is_admitted.load(Ordering::Relaxed) => {
                StoreError::Unavailable(text)
            }
            Meaning::Setup(advice) => StoreError::Misconfigured(format!("{text}; {advice}")),
            Meaning::Damage => StoreError::Corrupt(text),
            Meaning::Unknown => StoreError::OutcomeUnknown(text),
        }
    }

    /// It has been found to lead to what the bank needs.
    pub(super) fn admit(&self) {
        self.driver.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Ends the connection; what is in flight has no answer any more.
    pub(super) fn close(&self, reason: &str) {
        // The first one counts.
        let _ = self.driver.reason.set(reason.to_owned());
        self.driver.task.abort();
    }

    /// Why there is no connection any more.
    pub(super) fn reason(&self) -> &str {
        self.driver.reason.get().map_or("the connection was lost", String::as_str)
    }

    /// Can end the connection, but does not keep it open.
    pub(super) fn closer(&self) -> AbortHandle {
        self.driver.task.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.driver.ended.is_cancelled()
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) {
        self.driver.ended.cancelled().await;
    }
}

/// Whether trying again cannot help as long as nobody changes anything; with advice.
fn is_final(error: &FredError) -> Option<&'static str> {
    match (Meaning::of(error), error.kind()) {
        (Meaning::Setup(advice), _) => Some(advice),
        (
            _,
            ErrorKind::Auth
            | ErrorKind::Config
            | ErrorKind::Url
            | ErrorKind::InvalidArgument
            | ErrorKind::Tls,
        ) => Some("check store.redis.url"),
        _ => None,
    }
}
