//! What `self_wake` synchronizes with. `tests/loom.rs` has the same names for loom's types.

use std::{cell::Cell, ptr};

pub(super) use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use futures::task::AtomicWaker;

thread_local! {
    /// The address of the task that this thread is polling; null for none. It is compared, never followed.
    pub(super) static POLLED: Cell<*const ()> = const { Cell::new(ptr::null()) };
}
