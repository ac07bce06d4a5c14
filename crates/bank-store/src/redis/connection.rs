//! One connection to a server, with a limit on everything, and the meaning of its errors.

use std::{
    future::Future,
    iter,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fred::{
    clients::Client,
    cmd,
    error::{Error as FredError, ErrorKind},
    interfaces::ClientLike as _,
    types::{CustomCommand, Value},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::AbortHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    errors::{Meaning, brief, reply_code},
    lease::{Lease, Verdict},
    options::RedisOptions,
    slots::Redirect,
    target::Target,
};
use crate::StoreError;

/// How many commands [`Connection::send_many`] sends in one round trip.
const COMMANDS_PER_TRIP: usize = 1_000;

/// A command with its arguments.
#[derive(Clone)]
pub(super) struct Command {
    name: CustomCommand,
    arguments: Vec<Value>,
}

pub(super) fn command<A: Into<Value>>(name: &'static str, arguments: impl IntoIterator<Item = A>) -> Command {
    Command { name: cmd!(name), arguments: arguments.into_iter().map(Into::into).collect() }
}

/// Divides what is sent into round trips of at most so many.
pub(super) fn trips<T>(all: Vec<T>, size_max: usize) -> impl Iterator<Item = Vec<T>> {
    let mut rest = all.into_iter();
    iter::from_fn(move || {
        let trip: Vec<_> = rest.by_ref().take(size_max).collect();
        (!trip.is_empty()).then_some(trip)
    })
}

/// The reply to one command, or the error that came instead: of Redis, or of the client.
pub(super) type Reply = Result<Value, FredError>;

/// One connection, for as long as it lasts; it does not reconnect. It is closed when it is dropped.
pub(super) struct Connection {
    client: Client,
    target: Target,
    /// One for each command in flight. The client's own limit is not used: after it has refused a
    /// command, the client leaves later ones unsent until something else happens on the connection.
    permits: Semaphore,
    /// The task that reads and writes for the client. It would outlive the client.
    driver: AbortHandle,
    ended: CancellationToken,
    /// Why it was closed by this process, if it was.
    close_reason: OnceLock<String>,
    is_admitted: AtomicBool,
    lease: Lease,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects. `down_after_ms` is how soon Sentinels replace a silent primary, if there are any.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if it cannot succeed until the configuration is changed;
    /// [`StoreError::Unavailable`] otherwise.
    pub(super) async fn open(
        target: Target,
        down_after_ms: Option<Arc<AtomicU64>>,
        deadline: Instant,
    ) -> Result<Arc<Self>, StoreError> {
        let client = target.client()?;
        let options = target.options();
        let lease = Lease::new(&options.clock, options.command_timeout, down_after_ms);
        let task = match timeout_at(deadline, client.init()).await {
            Ok(Ok(task)) => task,
            Ok(Err(error)) => {
                return Err(match advice(&error) {
                    Some(advice) => StoreError::Misconfigured(format!(
                        "Redis at {} refuses the connection: {}; {advice}",
                        target.address(),
                        brief(&error)
                    )),
                    None => StoreError::Unavailable(brief(&error)),
                });
            }
            Err(_) => {
                // The client may still connect later; then this closes the connection.
                tokio::spawn(async move { client.quit().await });
                return Err(StoreError::Unavailable("it does not respond".to_owned()));
            }
        };
        let ended = CancellationToken::new();
        let permits = Semaphore::new(options.command_buffer_max);
        let connection = Self {
            client,
            target,
            permits,
            driver: task.abort_handle(),
            ended: ended.clone(),
            close_reason: OnceLock::new(),
            is_admitted: AtomicBool::new(false),
            lease,
        };
        tokio::spawn(async move {
            let _guard = ended.drop_guard();
            // However it ended: the connection is gone.
            let _ = task.await;
        });
        Ok(Arc::new(connection))
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn address(&self) -> &str {
        self.target.address()
    }

    /// Sends a command.
    pub(super) async fn send(&self, command: Command) -> Result<Value, StoreError> {
        self.try_send(command).await?.map_err(|error| self.explain(&error))
    }

    /// Sends commands in one round trip. The first error counts.
    pub(super) async fn send_all(&self, commands: Vec<Command>) -> Result<Vec<Value>, StoreError> {
        let replies = self.try_send_all(commands).await?;
        replies.into_iter().map(|reply| reply.map_err(|error| self.explain(&error))).collect()
    }

    /// Sends commands, in round trips that each stay within the timeout. The first error counts.
    pub(super) async fn send_many(&self, commands: Vec<Command>) -> Result<Vec<Value>, StoreError> {
        let mut replies = Vec::with_capacity(commands.len());
        for commands in trips(commands, COMMANDS_PER_TRIP) {
            replies.extend(self.send_all(commands).await?);
        }
        Ok(replies)
    }

    /// As [`Connection::write_all`]. A single command that waits for nobody costs less.
    pub(super) async fn write_each(&self, mut writes: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        if self.target.options().replicas == 0
            && writes.len() == 1
            && let Some(write) = writes.pop()
        {
            return Ok(vec![self.try_send(write).await?]);
        }
        self.write_all(writes).await
    }

    /// Sends commands that write in one round trip, and waits until as many replicas as `store.redis.replicas` says have it
    /// all. Leaves the meaning of error replies to the caller.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] if too few replicas have it in time.
    pub(super) async fn write_all(&self, mut writes: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        let RedisOptions { replicas, replicas_timeout, .. } = **self.target.options();
        if replicas == 0 {
            return self.try_send_all(writes).await;
        }
        let timeout_ms = replicas_timeout.as_millis();
        writes.push(command("WAIT", [replicas.to_string(), timeout_ms.to_string()]));
        let mut replies = self.try_send_all(writes).await?;
        let waited = replies.pop();
        // What only the primary has may survive a failover or not: the outcome is unknown.
        let problem = match waited {
            _ if !replies.is_empty() && replies.iter().all(Result::is_err) => return Ok(replies),
            Some(Ok(count)) => match count.as_u64().unwrap_or_default() {
                count if count >= u64::from(replicas) => return Ok(replies),
                count => format!("{count} of {replicas} replicas had it within {timeout_ms} ms"),
            },
            Some(Err(error)) => format!("the wait for replicas failed: {}", error.details()),
            None => "the wait for replicas has no reply".to_owned(),
        };
        Err(StoreError::OutcomeUnknown(format!("{problem}; the primary has it")))
    }

    /// Sends a command, and leaves the meaning of an error reply to the caller.
    async fn try_send(&self, command: Command) -> Result<Reply, StoreError> {
        let _permit = self.permit()?;
        self.reply_to(self.client.custom(command.name, command.arguments), is_from_server).await
    }

    /// Sends commands in one round trip, and leaves the meaning of error replies to the caller.
    pub(super) async fn try_send_all(&self, commands: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        let _permit = self.permit()?;
        self.probe(commands).await
    }

    /// As [`Connection::try_send_all`], however many commands are in flight: for the watchdog.
    pub(super) async fn probe(&self, commands: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        let pipeline = self.client.pipeline();
        for Command { name, arguments } in commands {
            let queued: Result<(), FredError> = pipeline.custom(name, arguments).await;
            queued.map_err(|error| self.explain(&error))?;
        }
        self.reply_to(pipeline.try_all(), |replies: &Vec<Reply>| replies.iter().any(is_from_server)).await
    }

    fn permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.permits.try_acquire().map_err(|_| {
            let max = self.target.options().command_buffer_max;
            StoreError::Unavailable(format!("{max} commands wait for Redis at {} already", self.address()))
        })
    }

    fn reply_to<T>(
        &self,
        command: impl Future<Output = T>,
        is_from_server: impl Fn(&T) -> bool,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // The client's futures are large: on the heap, those that contain them are not.
        let command = Box::pin(command);
        async move {
            if self.has_ended() {
                let (address, reason) = (self.address(), self.reason());
                return Err(StoreError::Unavailable(format!(
                    "not connected to Redis at {address}: {reason}"
                )));
            }
            // It is sent no earlier.
            let sent_at_ms = self.lease.now_ms();
            tokio::select! {
                // The driver replies to all that is in flight before it ends; what comes after has no reply.
                biased;
                reply = command => {
                    if is_from_server(&reply) {
                        self.require_in_time(sent_at_ms)?;
                    }
                    Ok(reply)
                }
                () = self.ended() => {
                    let text = format!("the connection to Redis at {} was lost", self.address());
                    Err(StoreError::OutcomeUnknown(text))
                }
            }
        }
    }

    /// The client has its own timeout, but accepts a late reply if this process was stopped or starved meanwhile.
    fn require_in_time(&self, sent_at_ms: u64) -> Result<(), StoreError> {
        let reason = match self.lease.judge(sent_at_ms) {
            Verdict::InTime => return Ok(()),
            Verdict::Late => "the reply came after the command timeout, and was discarded",
            Verdict::PossiblyReplaced => {
                let reason = "it was silent for so long that another primary may have taken over";
                self.close(reason);
                reason
            }
        };
        Err(StoreError::OutcomeUnknown(format!("Redis at {}: {reason}", self.address())))
    }

    /// What an error means. One that says that another server has to be asked closes the connection.
    pub(super) fn explain(&self, error: &FredError) -> StoreError {
        let text = format!("Redis at {}: {}", self.address(), brief(error));
        if self.is_moving(error) {
            return StoreError::Unavailable(text);
        }
        match Meaning::of(error) {
            Meaning::WrongServer => {
                self.close(error.details());
                StoreError::Unavailable(text)
            }
            Meaning::Transient => StoreError::Unavailable(text),
            // It has worked before, so the configuration was changed, and may be changed back.
            Meaning::Misconfigured(_) if self.is_admitted.load(Ordering::Relaxed) => {
                StoreError::Unavailable(text)
            }
            Meaning::Misconfigured(advice) => StoreError::Misconfigured(format!("{text}; {advice}")),
            Meaning::Corrupt => StoreError::Corrupt(text),
            Meaning::OutcomeUnknown => StoreError::OutcomeUnknown(text),
        }
    }

    /// Where an error reply sends the command, or why it says to wait, if this is a node of a cluster.
    pub(super) fn redirect(&self, error: &FredError) -> Option<Redirect> {
        let server = self.target.server().filter(|_| self.target.is_cluster())?;
        Redirect::of(error.details(), server)
    }

    /// Whether an error reply says that a slot has moved, or is moving.
    pub(super) fn is_moving(&self, error: &FredError) -> bool {
        self.redirect(error).is_some_and(|redirect| redirect != Redirect::Down)
    }

    /// Records that it leads to a server that meets the bank's requirements.
    pub(super) fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Closes the connection; what is in flight gets no reply. The first reason counts.
    pub(super) fn close(&self, reason: &str) {
        let _ = self.close_reason.set(reason.to_owned());
        self.driver.abort();
    }

    /// Why the connection has ended.
    pub(super) fn reason(&self) -> &str {
        self.close_reason.get().map_or("the connection was lost", String::as_str)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Whether it is a reply of Redis, and not an error of the client.
fn is_from_server(reply: &Reply) -> bool {
    reply.as_ref().err().is_none_or(|error| reply_code(error).is_some())
}

/// What to do about an error that lasts until the configuration is changed.
fn advice(error: &FredError) -> Option<&'static str> {
    use ErrorKind::{Auth, Config, InvalidArgument, Tls, Url};
    match (Meaning::of(error), error.kind()) {
        (Meaning::Misconfigured(advice), _) => Some(advice),
        (_, Auth | Config | Url | InvalidArgument | Tls) => Some("check store.redis.url"),
        _ => None,
    }
}
