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

use self::{self_wake::SelfWake, sync::AtomicWaker};

#[path = "../src/server/self_wake.rs"]
mod self_wake;

/// What `self_wake` synchronizes with, as loom has it.
mod sync {
    use std::{cell::Cell, ptr, task::Waker};

    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};

    loom::thread_local! {
        pub(super) static POLLED: Cell<*const ()> = Cell::new(ptr::null());
    }

    #[derive(Default)]
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
#[derive(Default)]
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
