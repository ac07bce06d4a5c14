//! The cost of a commit on the stores that need no server. For Redis see the benches of bank-server. Proposals are decided
//! outside the measured time.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bank_domain::AccountId;
use bank_store::{
    EmbeddedStore, MemoryStore, Outcome, Store,
    conformance::{
        Bank,
        commands::{deposit, id, named, open},
    },
    embedded::EmbeddedOptions,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use uuid::Uuid;

const ACCOUNTS: usize = 1_000;
const BATCHES: [usize; 3] = [1, 100, 1_000];

/// A bank with accounts on a store.
struct Stand {
    bank: Bank,
    ids: Vec<AccountId>,
}

impl Stand {
    async fn on(store: Arc<dyn Store>) -> Self {
        let bank = Bank::new(store);
        let ids: Vec<_> = (0..ACCOUNTS).map(|number| id(&format!("bench-{number:04}"))).collect();
        let mut view = bank.view_of(&[]).await;
        let openings: Vec<_> = ids.iter().map(|id| view.propose(open(id.as_str()))).collect();
        bank.commit(&openings).await;
        Self { bank, ids }
    }

    /// The duration of `count` commits of `batch` deposits each.
    async fn commits(&self, count: u64, batch: usize) -> Duration {
        let mut view = self.bank.view_of(&self.ids).await;
        let mut accounts = self.ids.iter().cycle();
        let mut took = Duration::ZERO;
        for _ in 0..count {
            let mut next = || {
                let account = accounts.next().unwrap().as_str();
                view.propose(named(&Uuid::now_v7().to_string(), deposit(account, 1)))
            };
            let proposals: Vec<_> = (0..batch).map(|_| next()).collect();
            let began_at = Instant::now();
            let committed = self.bank.store().commit(&proposals).await.unwrap();
            took += began_at.elapsed();
            assert!(committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
        }
        took
    }
}

fn measure(criterion: &mut Criterion, name: &str, store: Arc<dyn Store>, runtime: &Runtime) {
    let stand = runtime.block_on(Stand::on(store));
    let mut group = criterion.benchmark_group(name);
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("commit of {batch}"), |bencher| {
            bencher.iter_custom(|count| runtime.block_on(stand.commits(count, batch)));
        });
    }
    group.bench_function("load of 100", |bencher| {
        bencher.iter(|| runtime.block_on(stand.bank.load(&stand.ids[..100])));
    });
    group.finish();
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let retention = Duration::from_hours(1);
    measure(criterion, "memory", Arc::new(MemoryStore::new(retention)), &runtime);

    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = EmbeddedOptions { path: directory.path().join("bank.redb"), ..EmbeddedOptions::default() };
    let store = runtime.block_on(EmbeddedStore::open(options)).unwrap();
    measure(criterion, "embedded", Arc::new(store), &runtime);
}

criterion_group!(benches, commits);
criterion_main!(benches);
