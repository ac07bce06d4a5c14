//! The ledger in this process, on stores and clocks that tests control.

mod clocks;
mod commands;
mod commits;
mod lost_writes;
#[path = "../support/mod.rs"]
mod support;
