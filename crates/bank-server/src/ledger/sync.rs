//! What `lane` synchronizes with. `tests/loom.rs` has the same names for loom's types.

pub(super) use std::sync::{Mutex, MutexGuard};
