//! The bank at the other end of a connection.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use bank_client::{
    BankClient, Batch, Error, Operation, RequestId, Results, ServerInfo, Timestamp, TryStreamExt as _,
};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::{
    engine::{Bank, Found, Now, Wanted},
    lines::Line,
};

/// How long a bank may turn a batch away that has no room for it, before the run ends.
pub(super) const OVERLOADED_MAX: Duration = Duration::from_mins(1);
/// The pause before it is sent again, where the bank names none.
const PAUSE: Duration = Duration::from_millis(100);
/// How many entries of a history are read at a time.
const PAGE_SIZE: u16 = 1_000;

pub(super) struct Remote<'a> {
    client: &'a BankClient,
    bar: &'a ProgressBar,
    stop: &'a AtomicBool,
    /// The time of the bank at an instant.
    bank_time: (Timestamp, Instant),
}

impl<'a> Remote<'a> {
    /// `info` was got just now.
    pub(super) fn new(
        client: &'a BankClient,
        info: &ServerInfo,
        bar: &'a ProgressBar,
        stop: &'a AtomicBool,
    ) -> Self {
        let bank_time = (later(info.started_at, info.uptime), Instant::now());
        Self { client, bar, stop, bank_time }
    }
}

impl Bank for Remote<'_> {
    #[expect(clippy::disallowed_methods, reason = "the clock of this machine is one of two")]
    fn now(&self) -> Now {
        let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (bank, at) = self.bank_time;
        Now { here: later(Timestamp::UNIX_EPOCH, here), bank: later(bank, at.elapsed()) }
    }

    fn is_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sends a batch, again and again while the bank has no room for it.
    async fn send(&self, batch: &[(&Line, &RequestId)], atomic: bool) -> Result<Results, Error> {
        let operation =
            |&(line, request_id): &(&Line, &RequestId)| line.instruction.operation(self.client, request_id);
        let batch = self::batch(self.client, batch.iter().map(operation), atomic);
        let give_up_at = Instant::now() + OVERLOADED_MAX;
        loop {
            match batch.clone().send().await {
                Err(Error::Overloaded { retry_after, .. })
                    if Instant::now() < give_up_at && !self.is_to_stop() =>
                {
                    sleep(retry_after.unwrap_or(PAUSE).min(OVERLOADED_MAX)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn look_up(&self, wanted: &Wanted<'_>) -> Result<Option<Found>, Error> {
        let Wanted { account_id, request_id, kind, amount, counterparty, since } = *wanted;
        let mut call = self.client.history(account_id).since(since).page_size(PAGE_SIZE);
        if let Some(kind) = kind {
            call = call.kind(kind);
        }
        let mut entries = call.stream();
        while let Some(entry) = entries.try_next().await? {
            if entry.request_id.as_ref() == Some(request_id)
                && amount.is_none_or(|amount| amount == entry.amount)
                && counterparty.is_none_or(|account| entry.counterparty.as_ref() == Some(account))
            {
                return Ok(Some(Found {
                    transaction_id: entry.transaction_id.as_str().to_owned(),
                    amount: entry.amount,
                    balance: entry.balance_after,
                }));
            }
        }
        Ok(None)
    }

    fn progress(&self, lines: usize) {
        self.bar.inc(lines as u64);
    }
}

/// A batch that is answered in brief.
pub(super) fn batch(client: &BankClient, operations: impl Iterator<Item = Operation>, atomic: bool) -> Batch {
    let mut batch = client.batch().brief();
    if atomic {
        batch = batch.atomic();
    }
    operations.fold(batch, Batch::add)
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp::try_from_unix_ms(time.unix_ms().saturating_add(ms)).unwrap_or(Timestamp::MAX)
}
