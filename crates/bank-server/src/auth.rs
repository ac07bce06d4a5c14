//! Who calls, and what they may do.
//!
//! Authentication puts an [`Identity`] into the extensions of every request; `grpc/call.rs` is the one
//! place that takes it out. A request without one is never carried out. What a caller needs for a
//! method is in one table, [`rules`]; what holds it against a caller is an [`Access`], without which
//! neither the ledger nor a read does anything.

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
