//! Who calls, and what they may do.
//!
//! Authentication puts an [`Identity`] into the extensions of every request; `grpc/call.rs` is the one
//! place that takes it out. A request without one is never carried out.

mod identity;

pub use identity::{Identity, InvalidSubject, Scope, Scopes};
