use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Wake, Waker},
    thread,
    time::Duration,
};

use super::*;
use crate::server::Timeouts;

fn new_calls() -> NewCalls {
    let long = Duration::from_mins(1);
    let timeouts = Timeouts { first_call_timeout: long, idle_timeout: long, reply_timeout: long };
    NewCalls::of(Arc::new(Activity::new(timeouts)))
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_call_that_panics_is_gone_and_the_others_go_on() {
    let (new, done) = (new_calls(), Arc::new(AtomicUsize::new(0)));
    new.execute(async { unreachable!("a bug") });
    let count = Arc::clone(&done);
    new.execute(async move {
        count.fetch_add(1, SeqCst);
    });
    let http = pin!(pending::<()>());
    let mut connection = Busy::new(http, new);
    assert!(connection.poll(&Context::from_waker(Waker::noop())).is_pending());
    assert_eq!((done.load(SeqCst), connection.calls.len()), (1, 0));
}

#[test]
fn a_connection_is_woken_by_others_and_goes_on_by_itself_with_what_it_woke() {
    let woken = Arc::new(Woken::default());
    let task = Waker::from(Arc::clone(&woken));
    let (mut polls, mut kept) = (0, None);
    let http = pin!(poll_fn(|context| {
        polls += 1;
        if polls == 1 {
            context.waker().wake_by_ref();
        }
        kept = Some(context.waker().clone());
        Poll::<()>::Pending
    }));
    let mut connection = Busy::new(http, new_calls());
    assert!(connection.poll(&Context::from_waker(&task)).is_pending());
    drop(connection);
    assert_eq!((polls, woken.0.load(SeqCst)), (2, 0));
    let kept = kept.unwrap_or_else(|| unreachable!("it was polled"));
    let other = kept.clone();
    thread::spawn(move || other.wake()).join().unwrap_or_else(|_| unreachable!("waking does not panic"));
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(!kept.will_wake(&task));
}
