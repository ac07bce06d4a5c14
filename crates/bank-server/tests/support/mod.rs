//! What the end-to-end tests stand on: the real `bank-server`, and a real Redis for it.
//!
//! Every server and every Redis gets a free port and ends with the value that stands for it, so
//! tests run side by side. A failed test prints what its servers said.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unnecessary_wraps,
    clippy::unwrap_used,
    reason = "each test file uses its part of this, and a test that cannot go on fails"
)]

pub mod api;
pub mod health;
mod process;
mod redis;
pub mod sentinel;

use std::{ops::Deref, path::Path};

pub use process::Process;
pub use redis::Redis;

/// A `bank-server` that takes calls. See [`Process`] for its log and its end.
pub struct Bank {
    process: Process,
    port: u16,
}

impl Bank {
    /// On the in-memory store.
    pub async fn memory() -> Self {
        Self::memory_with(&[]).await
    }

    /// On the in-memory store, with more flags.
    pub async fn memory_with(flags: &[&str]) -> Self {
        Self::start(&[&["--store", "memory"], flags].concat()).await
    }

    /// On the embedded store, in a file.
    pub async fn on_file(path: &Path) -> Self {
        Self::on_file_with(path, &[]).await
    }

    /// On the embedded store, in a file, with more flags.
    pub async fn on_file_with(path: &Path, flags: &[&str]) -> Self {
        Self::start(&[&["--data", path.to_str().unwrap()], flags].concat()).await
    }

    /// On a Redis; several may share one.
    pub async fn on_redis(redis: &Redis) -> Self {
        Self::on_redis_with(redis, &[]).await
    }

    /// On a Redis, with more flags, such as `&["--set", "server.shutdown_grace_ms=300"]`.
    pub async fn on_redis_with(redis: &Redis, flags: &[&str]) -> Self {
        let own = redis.flags();
        Self::start(&[&own.iter().map(String::as_str).collect::<Vec<_>>(), flags].concat()).await
    }

    /// With flags that say which store, on a free port unless they say otherwise. Returns once clients
    /// can connect.
    pub async fn start(flags: &[&str]) -> Self {
        Self::of(Process::start(flags)).await
    }

    /// One that is about to take calls.
    pub async fn of(process: Process) -> Self {
        let line = process.said("Server started on port ").await;
        let message = line["message"].as_str().unwrap();
        let port = message.rsplit(' ').next().unwrap().parse().unwrap();
        Self { process, port }
    }

    /// Starts it again on its port, once it has ended.
    pub async fn start_again(&mut self) {
        self.process.start_again(self.port);
        self.process.said("Server started on port ").await;
    }

    /// For clients: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Deref for Bank {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
