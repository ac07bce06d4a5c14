//! The cost of the ledger by itself: deposits through its queue and its sequencer, on the memory store.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bank_domain::Command;
use bank_server::{
    auth::{Access, Identity, Method},
    ledger::{Ledger, LedgerOptions, Operation},
    metrics::Metrics,
};
use bank_store::{
    MemoryStore,
    conformance::commands::{deposit, open},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::{runtime::Runtime, task::JoinSet};
use uuid::Uuid;

const ACCOUNTS: u64 = 1_000;
const CALLERS: [u64; 2] = [1, 256];

/// As in the server.
fn options() -> LedgerOptions {
    LedgerOptions {
        queue_commands_max: 65_536,
        batch_commands_max: 1_000,
        accounts_remembered_max: 100_000,
        outcome_timeout: Duration::from_secs(10),
        resend_pause: Duration::from_millis(50),
    }
}

fn operation(command: Command) -> Operation {
    Operation {
        access: Access::grant(Identity::operator(), Method::Deposit).unwrap(),
        command,
        request_id: Uuid::now_v7().to_string().parse().ok(),
    }
}

fn deadline() -> tokio::time::Instant {
    (Instant::now() + Duration::from_secs(10)).into()
}

fn account(number: u64) -> String {
    format!("bench-{number:04}")
}

/// Makes so many deposits, by so many callers at a time, each waiting for its outcome.
async fn deposits(ledger: &Ledger, count: u64, callers: u64) {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            for number in (caller..count).step_by(usize::try_from(callers).unwrap()) {
                let operation = operation(deposit(&account(number % ACCOUNTS), 1));
                ledger.execute(operation, deadline(), callers == 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn executions(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(1));
    for callers in CALLERS {
        let ledger = runtime.block_on(async {
            let store = Arc::new(MemoryStore::new(Duration::from_mins(1)));
            let ledger = Ledger::start(store, Arc::new(Metrics::new().unwrap()), &options());
            for number in 0..ACCOUNTS {
                ledger.execute(operation(open(&account(number)).into()), deadline(), true).await.unwrap();
            }
            ledger
        });
        group.bench_function(format!("deposit, callers: {callers}"), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let began_at = Instant::now();
                    deposits(&ledger, count, callers).await;
                    began_at.elapsed()
                })
            });
        });
        runtime.block_on(ledger.drain());
    }
    group.finish();
}

criterion_group!(benches, executions);
criterion_main!(benches);
