use super::*;
use crate::admission::{
    callers::tests::{callers, peer},
    limits::LimitScope,
};

#[test]
fn a_caller_has_a_part_and_what_is_small_is_free() {
    let callers = callers(1, 1);
    let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|address| callers.allowance(None, peer(address)));
    let mut first = one.try_reserve(15 * 1024).unwrap();
    let reached = |scope, max| LimitReached { resource: Resource::BufferedBytes, scope, max };
    let own = reached(LimitScope::PerCaller, 20 * 1024);
    assert_eq!(one.try_reserve(10 * 1024).unwrap_err(), own);
    assert_eq!(one.buffer_limit(10 * 1024), own);
    let total = reached(LimitScope::Total, 30 * 1024);
    assert_eq!(other.try_reserve(16 * 1024).unwrap_err(), total);
    assert_eq!(other.buffer_limit(16 * 1024), total);
    drop(other.try_reserve(15 * 1024).unwrap());
    drop(one.try_reserve(SMALL_BYTES).unwrap());
    // A reservation shrinks to what is needed, and to nothing if that is small.
    first.shrink(10 * 1024);
    let second = one.try_reserve(10 * 1024).unwrap();
    first.shrink(1);
    drop(other.try_reserve(20 * 1024).unwrap());
    drop((first, second));
    // A caller that asks for more than its part gets its whole part.
    let all_of_it = one.try_reserve(usize::MAX).unwrap();
    assert_eq!(one.try_reserve(5 * 1024).unwrap_err(), own);
    drop(all_of_it);
}

#[tokio::test]
async fn a_caller_who_waits_gets_memory_and_one_who_leaves_takes_none() {
    let caller = callers(1, 1).allowance(None, peer("10.0.0.1"));
    let first = caller.reserve(15 * 1024).await;
    let mut waiting = Box::pin(caller.reserve(10 * 1024));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(first);
    assert!(futures::poll!(&mut waiting).is_ready());
    let first = caller.reserve(15 * 1024).await;
    let mut leaves = Box::pin(caller.reserve(10 * 1024));
    assert!(futures::poll!(&mut leaves).is_pending());
    drop((first, leaves));
    drop(caller.try_reserve(20 * 1024).unwrap());
}
