//! The bank at the other end of a connection.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use bank_client::{
    BankClient, Batch, BriefReceipt, Error, Operation, RequestId, Results, ServerInfo, Timestamp,
    TryStreamExt as _,
};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::{
    bank::{Bank, Now, Wanted},
    lines::Line,
};

/// How long a batch is sent again to an overloaded bank before the run ends.
pub(super) const OVERLOADED_MAX: Duration = Duration::from_mins(1);
/// The pause before a batch is sent again, if the bank names none.
const PAUSE: Duration = Duration::from_millis(100);
const PAGE_SIZE: u16 = 1_000;

pub(super) struct Remote<'a> {
    client: &'a BankClient,
    bar: &'a ProgressBar,
    stop: &'a AtomicBool,
    /// The time of the bank, and when it was that.
    bank_time: (Timestamp, Instant),
}

impl<'a> Remote<'a> {
    /// `info` must be recent: it tells the time of the bank.
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
    #[expect(clippy::disallowed_methods, reason = "one of two clocks is that of this machine")]
    fn now(&self) -> Now {
        let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (bank, at) = self.bank_time;
        Now { here: later(Timestamp::UNIX_EPOCH, here), bank: later(bank, at.elapsed()) }
    }

    fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sends a batch, repeatedly while the bank is overloaded.
    async fn send(&self, batch: &[(&Line, &RequestId)], atomic: bool) -> Result<Results, Error> {
        let operation =
            |&(line, request_id): &(&Line, &RequestId)| line.instruction.operation(self.client, request_id);
        let batch = self::batch(self.client, batch.iter().map(operation), atomic);
        let give_up_at = Instant::now() + OVERLOADED_MAX;
        loop {
            match batch.clone().send().await {
                Err(Error::Overloaded { retry_after, .. })
                    if Instant::now() < give_up_at && !self.is_interrupted() =>
                {
                    sleep(retry_after.unwrap_or(PAUSE).min(OVERLOADED_MAX)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn look_up(&self, wanted: &Wanted<'_>) -> Result<Option<BriefReceipt>, Error> {
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
                return Ok(Some(BriefReceipt {
                    transaction_id: entry.transaction_id,
                    sequence: entry.sequence,
                    amount: entry.amount,
                    balance: entry.balance_after,
                    replayed: true,
                }));
            }
        }
        Ok(None)
    }

    fn progress(&self, lines: usize) {
        self.bar.inc(lines as u64);
    }
}

/// A batch with brief answers.
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
