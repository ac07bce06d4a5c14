//! The Redis store keeps the contract on real servers, and through whatever happens to them.
//!
//! The oldest server that is supported is put through everything. The newest Redis and Valkey are put
//! through what depends on the server: the contract, the answers that a model gives, wording and kinds
//! of errors, damage, durability, outages and failovers. What only depends on the store's own code
//! (faults that are injected above the server, expiry, the layout, identity) is not repeated on them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![expect(clippy::duplicate_mod, reason = "the same tests run on each server")]

mod proxy;

mod redis_7_0;
mod redis_8_2;
mod valkey_9_1;

/// A kind of server to test on.
pub(crate) struct Binary {
    path: &'static str,
    /// A line of `INFO` begins with this.
    version: &'static str,
    install: &'static str,
}
