//! The library and the tool against the real `bank-server`, in a process of its own.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test panics when it fails")]

mod apply;
mod backup;
mod batches;
mod bench;
mod cli;
mod faults;
mod library;
mod output;
mod process;
mod proxy;
mod secure;
mod several_servers;
