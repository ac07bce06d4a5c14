//! Storage of accounts, entries and request records.
//!
//! A [`Store`] knows no business rules. It applies a [`Proposal`] only if every account that the proposal was decided
//! on still has the same head, the hash of its newest entry. So the rules run in one place for every backend, and a
//! decision on stale state cannot take effect.
//!
//! | backend | storage | use |
//! |---|---|---|
//! | [`MemoryStore`] | memory of this process | tests and trials |
//! | [`EmbeddedStore`] | one file, with redb | one durable server without other services |
//! | [`RedisStore`] | Redis 7.0 or later, or Valkey | many servers for one bank |
//!
//! The feature `conformance` adds the test suite that every backend passes.

mod backup;
mod checks;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod durability;
pub mod embedded;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod memory;
mod placement;
mod proposal;
mod query;
pub mod redis;
mod secret;
mod settlement;
mod store;

pub use backup::{Backup, HistoryPart, ImportBatch, ImportId, ImportStart, RequestsQuery};
pub use durability::{Durability, DurabilityLevel};
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use placement::{Placement, PlacementRule};
pub use proposal::{
    Attempt, Caller, Committed, Outcome, Proposal, RecordedOutcome, RequestKey, RequestRecord,
};
pub use query::{AccountsQuery, EntriesQuery, Order};
pub use redis::RedisStore;
pub use secret::Secret;
pub use store::{Store, StoreProperties};
