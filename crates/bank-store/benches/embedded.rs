//! The cost of commits to the embedded store in a real file: deposits in commits of several sizes, with several numbers of
//! accounts.
//!
//! ```console
//! $ cargo bench -p bank-store --bench embedded
//! $ cargo bench -p bank-store --bench embedded -- --accounts 1,1000 --commits 1000 --operations 100000
//! ```
//!
//! Proposals are decided outside the measured time. The processor time is that of the writer thread and of the whole
//! process; it depends less on the load of the machine than the elapsed time. The file is in the directory of `TMPDIR`.
#![expect(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    reason = "the output is for people, and a bench that cannot continue fails"
)]

use std::{
    env, fs, iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bank_domain::AccountId;
use bank_store::{
    EmbeddedStore, EntriesQuery, Order, Outcome, Proposal, Store,
    conformance::{
        Bank, View,
        commands::{deposit, id, named, open},
    },
    embedded::EmbeddedOptions,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// The number of accounts that one commit opens.
const OPENED_PER_COMMIT: usize = 1_000;
/// The maximum number of commits in one measurement.
const COMMITS_MAX: usize = 2_000;
/// The number of reads in one measurement.
const READS: usize = 2_000;

/// The numbers to measure.
struct Plan {
    accounts: Vec<usize>,
    commits: Vec<usize>,
    operations: usize,
}

impl Plan {
    fn from_arguments() -> Self {
        let arguments: Vec<_> = env::args().collect();
        let numbers = |name: &str, otherwise: &str| {
            let given = arguments.iter().skip_while(|argument| *argument != name).nth(1);
            let text = given.map_or(otherwise, String::as_str);
            text.split(',').map(|number| number.parse().unwrap()).collect::<Vec<usize>>()
        };
        Self {
            accounts: numbers("--accounts", "1,1000,100000,1000000"),
            commits: numbers("--commits", "1,100,1000"),
            operations: numbers("--operations", "100000")[0],
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let plan = Plan::from_arguments();
    println!(
        "accounts  in a commit  operations/s  us/operation: writer  process  wall   MB written  p50 us  max us"
    );
    for &accounts in &plan.accounts {
        let directory = tempfile::tempdir().unwrap();
        let options =
            EmbeddedOptions { path: directory.path().join("bank.redb"), ..EmbeddedOptions::default() };
        let store = Arc::new(EmbeddedStore::open(options).await.unwrap());
        let bank = Bank::new(Arc::clone(&store) as Arc<dyn Store>);
        let ids: Vec<_> = (0..accounts).map(|number| id(&format!("account-{number}"))).collect();
        open_all(&bank, &ids).await;
        let mut view = bank.view_of(&ids).await;
        for &size in &plan.commits {
            let count = (plan.operations / size).clamp(1, COMMITS_MAX);
            let commits: Vec<Vec<_>> =
                (0..count).map(|_| deposits(&mut view, &ids, size).collect()).collect();
            measure_commits(&*store, accounts, &commits).await;
        }
        measure_reads(&*store, &ids).await;
    }
}

async fn open_all(bank: &Bank, ids: &[AccountId]) {
    for some in ids.chunks(OPENED_PER_COMMIT) {
        let mut view = bank.view_of(&[]).await;
        let openings: Vec<_> =
            some.iter().map(|id| view.propose(named(&request_id(), open(id.as_str())))).collect();
        commit(bank.store().as_ref(), &openings).await;
    }
}

fn deposits(view: &mut View, ids: &[AccountId], count: usize) -> impl Iterator<Item = Proposal> {
    let mut random = StdRng::seed_from_u64(rand::random());
    iter::repeat_with(move || {
        let id = &ids[random.random_range(0..ids.len())];
        view.propose(named(&request_id(), deposit(id.as_str(), 1)))
    })
    .take(count)
}

fn request_id() -> String {
    Uuid::now_v7().to_string()
}

async fn commit(store: &dyn Store, proposals: &[Proposal]) {
    let committed = store.commit(proposals).await.unwrap();
    assert!(committed.outcomes.iter().all(|outcome| *outcome == Outcome::Applied));
}

async fn measure_commits(store: &dyn Store, accounts: usize, commits: &[Vec<Proposal>]) {
    let (writer, process, written) = (writer_time(), process_time(), bytes_written());
    let began_at = Instant::now();
    let mut took = Vec::with_capacity(commits.len());
    for proposals in commits {
        let began_at = Instant::now();
        commit(store, proposals).await;
        took.push(began_at.elapsed());
    }
    let wall = began_at.elapsed();
    took.sort_unstable();
    let operations: usize = commits.iter().map(Vec::len).sum();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / operations as f64;
    println!(
        "{accounts:8}  {:11}  {:12.0}  {:20.2}  {:7.2}  {:4.2}  {:11.1}  {:6}  {:6}",
        commits[0].len(),
        operations as f64 / wall.as_secs_f64(),
        each(writer_time() - writer),
        each(process_time() - process),
        each(wall),
        (bytes_written() - written) as f64 / 1e6,
        took[took.len() / 2].as_micros(),
        took[took.len() - 1].as_micros(),
    );
}

async fn measure_reads(store: &dyn Store, ids: &[AccountId]) {
    let mut random = StdRng::seed_from_u64(rand::random());
    let mut some = iter::repeat_with(|| ids[random.random_range(0..ids.len())].clone());
    let before = process_time();
    for id in some.by_ref().take(READS) {
        store.load(&[id]).await.unwrap();
    }
    let load = process_time() - before;
    let before = process_time();
    let mut entries = 0;
    for account_id in some.take(READS) {
        let query = EntriesQuery { order: Order::NewestFirst, limit: 50, ..EntriesQuery::all(account_id) };
        entries += store.entries(&query).await.unwrap().len();
    }
    let page = process_time() - before;
    println!(
        "          us of the process: {:.1} for an account, {:.1} for a page of {:.1} entries",
        load.as_secs_f64() * 1e6 / READS as f64,
        page.as_secs_f64() * 1e6 / READS as f64,
        entries as f64 / READS as f64,
    );
}

/// The processor time of the writer thread.
fn writer_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mut writers = tasks
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "bank-writer"));
    let times = fs::read_to_string(writers.next().unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
}

/// The processor time of the process.
fn process_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// The bytes that this process has written.
fn bytes_written() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap();
    let line = counts.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}
