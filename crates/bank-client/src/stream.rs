//! Streams of batches.

use std::{collections::VecDeque, future::pending};

use bank_proto::v1;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::Streaming;

use crate::{
    Error,
    batch::{Batch, Results},
    client::{BankClient, large_replies},
    method::Stub,
    operation,
};

/// How many batches are sent before the first of them is answered, unless set.
const IN_FLIGHT_MAX: usize = 4;

/// Batches in, results out, in the order of the batches; made by [`BankClient::stream`].
///
/// It works while it is polled: the next batch is sent when there is room for it, so batches are sent as fast as
/// results are read. When the connection is lost or the server shuts down, the stream reconnects and sends the
/// unanswered batches again; the request ids of the operations keep them from being executed twice.
///
/// There is one item for each batch. An error means that nothing of its batch was executed, and the stream
/// continues. If the client's [`RetryPolicy`](crate::RetryPolicy) allows no further attempt, the stream ends with
/// the error, and the outcome of the batches without an item is unknown: send them again.
///
/// # Dry runs
///
/// Batches that are only checked ([`Batch::validate_only`]) make a dry run, however many they are: each is checked
/// against the accounts as those before it would leave them, and with request ids that were used in it before. So
/// the results are those of a real run, if nobody else uses the accounts meanwhile. Request ids from before the dry
/// run are not looked up: they count as unused. A batch that is carried out on the same stream ends the dry run.
///
/// The bank keeps the accounts and the request ids of a dry run, up to `callers.dry_run_bytes_max`; beyond that
/// the stream ends with [`Error::DryRunTooLarge`]. An operation whose id comes up only once costs less
/// [without it](crate::Operation::without_request_id). What the bank keeps is lost with the connection, so a dry run of
/// which a batch was answered does not go on over another one: the stream ends with the error.
///
/// ```no_run
/// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
/// use bank_client::{Currency, Money, StreamExt};
/// use futures::stream;
///
/// let cent = Money { currency: Currency::USD, minor_units: 1 };
/// let batch = {
///     let client = client.clone();
///     move |_| (0..100).fold(client.batch(), |batch, _| batch.add(client.deposit("alice", cent)))
/// };
/// let mut results = client.stream(stream::iter((0..1_000).map(batch))).results();
/// while let Some(results) = results.next().await {
///     println!("{} done", results?.iter().filter(|result| result.is_ok()).count());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing unless its results are read"]
pub struct Stream {
    client: BankClient,
    /// None once it has ended.
    batches: Option<BoxStream<'static, Batch>>,
    unanswered: VecDeque<Batch>,
    in_flight_max: usize,
    connection: Option<Connection>,
    /// How often it failed since it was last answered.
    failures: u32,
    /// Whether the batch that was answered last was only checked, so that the bank knows what those after it build on.
    in_dry_run: bool,
    ended: bool,
}

/// The connection that the unanswered batches were sent on.
struct Connection {
    /// None once all has been sent.
    requests: Option<mpsc::Sender<v1::ExecuteStreamRequest>>,
    replies: Streaming<v1::ExecuteStreamResponse>,
}

/// What happens next on a stream.
enum Event {
    /// There is one more to send, or no more.
    Batch(Option<Batch>),
    /// The oldest that was not answered is.
    Reply(v1::ExecuteStreamResponse),
    /// The connection is of no more use.
    Lost(Error),
    /// All were answered.
    End,
}

impl Stream {
    pub(crate) fn new(client: BankClient, batches: BoxStream<'static, Batch>) -> Self {
        Self {
            client,
            batches: Some(batches),
            unanswered: VecDeque::new(),
            in_flight_max: IN_FLIGHT_MAX,
            connection: None,
            failures: 0,
            in_dry_run: false,
            ended: false,
        }
    }

    /// How many batches are sent before the first of them is answered; 4 unless set, and 0 is taken as 1. The server
    /// takes as many as it is set to, and leaves the others on the way.
    pub fn in_flight_max(mut self, in_flight_max: usize) -> Self {
        self.in_flight_max = in_flight_max.max(1);
        self
    }

    /// Sends the batches, while the results are read.
    pub fn results(self) -> BoxStream<'static, Result<Results, Error>> {
        let results = stream::unfold(self, |mut stream| async move {
            let results = stream.next().await?;
            Some((results, stream))
        });
        results.boxed()
    }

    /// The results of the next batch; none after the last, or after the error that ended it.
    async fn next(&mut self) -> Option<Result<Results, Error>> {
        while !self.ended {
            match self.event().await {
                Event::Batch(batch) => self.send(batch),
                Event::Reply(reply) => return Some(self.answered(reply)),
                Event::Lost(error) => {
                    if let Some(error) = self.lost(error).await {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
                Event::End => self.ended = true,
            }
        }
        None
    }

    async fn event(&mut self) -> Event {
        if self.unanswered.is_empty() && self.batches.is_none() {
            return Event::End;
        }
        if self.connection.is_none() && !self.unanswered.is_empty() {
            match timeout(self.client.timeout(), self.connect()).await {
                Ok(Ok(connection)) => self.connection = Some(connection),
                Ok(Err(error)) => return Event::Lost(error),
                Err(_elapsed) => return Event::Lost(Error::DeadlineExceeded { request_id: None }),
            }
        }
        let (connected, waiting) = (self.connection.is_some(), !self.unanswered.is_empty());
        let has_room = self.batches.is_some() && self.unanswered.len() < self.in_flight_max;
        tokio::select! {
            event = reply(&mut self.connection), if connected => event,
            batch = next_batch(&mut self.batches), if has_room => Event::Batch(batch),
            () = sleep(self.client.timeout()), if connected && waiting => {
                Event::Lost(Error::DeadlineExceeded { request_id: None })
            }
        }
    }

    /// A new connection, on which is sent what was not answered on the one before.
    async fn connect(&mut self) -> Result<Connection, Error> {
        let (requests, mut sent) = mpsc::channel(self.in_flight_max);
        for batch in &self.unanswered {
            // There is room for all of them.
            let _ = requests.try_send(message(batch));
        }
        let messages = stream::poll_fn(move |context| sent.poll_recv(context));
        let send = |stub: Stub, request| async move { large_replies(stub).execute_stream(request).await };
        let account = self.unanswered.front().and_then(Batch::account);
        let replies = self.client.send_stream(messages, account, send).await?;
        let requests = self.batches.is_some().then_some(requests);
        Ok(Connection { requests, replies })
    }

    /// Sends the next batch, or says that there is none.
    fn send(&mut self, batch: Option<Batch>) {
        let requests = self.connection.as_mut().map(|connection| &mut connection.requests);
        let Some(batch) = batch else {
            self.batches = None;
            if let Some(requests) = requests {
                *requests = None;
            }
            return;
        };
        if let Some(Some(requests)) = requests {
            // There is room; and a connection that is lost is noticed by its replies.
            let _ = requests.try_send(message(&batch));
        }
        self.unanswered.push_back(batch);
    }

    fn answered(&mut self, reply: v1::ExecuteStreamResponse) -> Result<Results, Error> {
        self.failures = 0;
        self.client.attempts(None).answered();
        let Some(batch) = self.unanswered.pop_front() else {
            self.ended = true;
            return Err(Error::InvalidReply("there are more replies than batches".to_owned()));
        };
        self.in_dry_run = batch.is_validate_only();
        match reply.error {
            Some(error) => Err(operation::error(error, None)),
            None => batch.read(reply.results),
        }
    }

    /// Waits until it is time to connect anew; the error if that is not to be done.
    async fn lost(&mut self, error: Error) -> Option<Error> {
        self.connection = None;
        if self.in_dry_run {
            // On another connection what comes next would be checked without what came before.
            return Some(error);
        }
        if self.unanswered.is_empty() {
            // It is connected again when there is something to send.
            return None;
        }
        self.failures += 1;
        match self.client.attempts(None).pause_after(&error, self.failures) {
            Some(pause) => {
                sleep(pause).await;
                None
            }
            None => Some(error),
        }
    }
}

fn message(batch: &Batch) -> v1::ExecuteStreamRequest {
    let request = batch.request(batch.operations().iter().cloned());
    let v1::ExecuteBatchRequest { operations, atomic, receipts_only, validate_only } = request;
    v1::ExecuteStreamRequest { operations, atomic, receipts_only, validate_only }
}

async fn reply(connection: &mut Option<Connection>) -> Event {
    let Some(connection) = connection else { return pending().await };
    match connection.replies.message().await {
        Ok(Some(reply)) => Event::Reply(reply),
        Ok(None) => Event::Lost(Error::ConnectionLost("the stream has ended early".to_owned())),
        Err(status) => Event::Lost(Error::from_status(status, None)),
    }
}

async fn next_batch(batches: &mut Option<BoxStream<'static, Batch>>) -> Option<Batch> {
    batches.as_mut()?.next().await
}
