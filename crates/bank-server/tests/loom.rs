//! Runs the server's own synchronization through every interleaving of its threads.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use loom::{
    future::block_on,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use self::{
    lane::{Commands, Lane},
    metrics::Metrics,
    self_wake::SelfWake,
    submission::Submission,
    sync::AtomicWaker,
};

#[path = "../src/ledger/lane.rs"]
mod lane;
#[path = "../src/server/self_wake.rs"]
mod self_wake;

/// A command that says when it is taken.
mod submission {
    #[derive(Debug)]
    pub(super) struct Submission(pub(super) std::sync::Arc<super::Work>);
}

mod error {
    #[derive(Debug)]
    #[expect(dead_code, reason = "it is only printed")]
    pub(super) enum Error {
        ShuttingDown,
        QueueFull { commands_max: usize },
    }
}

mod metrics {
    pub(crate) struct Metrics;

    #[expect(clippy::unused_self, reason = "as the metrics of the server have it")]
    impl Metrics {
        pub(crate) fn commands_queued(&self, _count: usize) {}
    }
}

/// What `lane` and `self_wake` synchronize with, as loom has it.
mod sync {
    use std::{cell::Cell, ptr, task::Waker};

    pub(super) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    };

    loom::thread_local! {
        pub(super) static POLLED: Cell<*const ()> = Cell::new(ptr::null());
    }

    #[derive(Debug, Default)]
    pub(super) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(super) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(super) fn wake(&self) {
            self.0.wake();
        }
    }
}

/// Something that another thread finishes, as a store does.
#[derive(Debug, Default)]
struct Work {
    is_done: AtomicBool,
    waiting: AtomicWaker,
}

impl Work {
    fn finish(&self) {
        self.is_done.store(true, SeqCst);
        self.waiting.wake();
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        self.waiting.register(context.waker());
        if self.is_done.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A wake-up that is lost leaves the task waiting for ever, which loom reports as a deadlock.
fn check(may_continue: bool, wakes_itself: bool) {
    loom::model(move || {
        let work = Arc::new(Work::default());
        let other = Arc::clone(&work);
        let thread = thread::spawn(move || other.finish());
        let (self_wake, mut rounds) = (SelfWake::default(), 0);
        block_on(poll_fn(|task| {
            let round = |context: &mut Context<'_>| {
                rounds += 1;
                if wakes_itself && rounds == 1 {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                work.poll(context)
            };
            self_wake.poll(task, round, || may_continue)
        }));
        assert!(thread.join().is_ok());
    });
}

#[test]
fn a_wake_from_another_thread_is_not_lost() {
    check(true, false);
}

#[test]
fn a_self_wake_leads_to_another_round() {
    check(true, true);
}

#[test]
fn forwards_a_self_wake_if_the_task_may_not_continue() {
    check(false, true);
}

/// More threads than these have too many interleavings to try them all.
const CALLERS: usize = 2;
/// How often loom interrupts a thread that could go on. Faults of this kind show with two.
const PREEMPTIONS_MAX: usize = 2;

/// Answers commands once the store has, if there is one. Meanwhile it takes those that are queued behind them, as for an
/// overlapping commit.
async fn sequence(mut commands: Commands, store: Option<Arc<Work>>) {
    while commands.wait().await {
        let mut taken = commands.take(std::mem::take);
        if let Some(store) = &store {
            let mut stored = poll_fn(|context| store.poll(context));
            loop {
                tokio::select! {
                    biased;
                    () = &mut stored => break,
                    () = commands.wait_for(1) => {}
                }
                taken.extend(commands.take(std::mem::take));
            }
        }
        for Submission(work) in taken {
            work.finish();
        }
    }
}

/// Callers whose command is never answered, and a driver that never ends, are deadlocks.
fn check_lane(inline: [bool; CALLERS], waits_for_store: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(move || {
        let store = waits_for_store.then(Arc::<Work>::default);
        let (lane, driver) =
            Lane::new(CALLERS, Arc::new(Metrics), |commands| sequence(commands, store.clone()));
        let driver = thread::spawn(move || block_on(driver));
        let other_lane = lane.clone();
        let other = thread::spawn(move || call(&other_lane, inline[1]));
        if let Some(store) = &store {
            store.finish();
        }
        call(&lane, inline[0]);
        assert!(other.join().is_ok());
        lane.close();
        assert!(driver.join().is_ok());
    });
}

fn call(lane: &Lane, inline: bool) {
    let work = Arc::<Work>::default();
    assert!(lane.push([Submission(Arc::clone(&work))], inline).is_ok());
    block_on(poll_fn(|context| work.poll(context)));
}

#[test]
fn every_command_is_answered_whoever_runs_the_sequencer() {
    check_lane([true, true], false);
    check_lane([true, false], false);
    check_lane([false, false], false);
}

#[test]
fn a_commit_that_is_in_flight_when_an_inline_caller_leaves_is_finished_by_the_driver() {
    check_lane([true, false], true);
}
