//! Authentication and authorization.
//!
//! Authentication puts an [`Identity`] into the extensions of every request; `server/bank.rs` reads it for limits,
//! `grpc/call.rs` for authorization. A request without one is never executed. [`rules`] has the rule of each method. An [`Access`] proves that a caller satisfies it;
//! the ledger and all reads require one.

mod access;
pub mod authentication;
mod identity;
pub mod rules;

pub use self::{
    access::{Access, Extent, ScopeMissing},
    authentication::Authentication,
    identity::{Identity, InvalidSubject, Scope, Scopes},
    rules::Method,
};
