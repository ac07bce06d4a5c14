//! Shared by the end-to-end tests: the real `bank-server`, and a real Redis for it.
//!
//! Every server and every Redis gets a free port and ends when its value is dropped, so tests run
//! side by side. A failed test prints the logs of its servers.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unnecessary_wraps,
    clippy::unwrap_used,
    reason = "each target uses its part of this, and a test that cannot go on fails"
)]

pub mod admin;
pub mod api;
pub mod certificates;
pub mod cluster;
pub mod frames;
pub mod health;
pub mod hostile;
pub mod keys;
pub mod nginx;
mod process;
mod redis;
pub mod sentinel;
pub mod tokens;

use std::{
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

pub use process::Process;
pub use redis::Redis;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The longest that [`until`] waits. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until a condition holds.
pub async fn until(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < give_up_at, "does not hold within {PATIENCE:?}: {condition}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A `bank-server` that accepts calls. See [`Process`] for its log and its end.
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

    /// The same with additional environment variables.
    pub async fn start_in(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let variables = [&[("BANK__SERVER__LISTEN", "127.0.0.1:0")], variables].concat();
        Self::of(Process::start_in(flags, &variables)).await
    }

    /// A process that is about to accept calls.
    pub async fn of(process: Process) -> Self {
        let line = process.logged("Server started on port ").await;
        let message = line["message"].as_str().unwrap();
        let port = message.rsplit(' ').next().unwrap().parse().unwrap();
        Self { process, port }
    }

    /// On the in-memory store, with callers that have tokens of this issuer, and with more flags.
    pub async fn with_tokens(issuer: &tokens::Issuer, more: &[&str]) -> Self {
        Self::memory_with(&[&issuer.flags()[..], more].concat()).await
    }

    /// The same on a Redis.
    pub async fn with_tokens_on(redis: &Redis, issuer: &tokens::Issuer, more: &[&str]) -> Self {
        Self::on_redis_with(redis, &[&issuer.flags()[..], more].concat()).await
    }

    /// Starts it again on its port, once it has ended.
    pub async fn start_again(&mut self) {
        self.process.start_again(self.port);
        self.process.logged("Server started on port ").await;
    }

    /// For clients: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// For clients that speak TLS: `https://localhost:port`.
    pub fn secure_endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
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

/// A directory with the files of one server, which a test may replace.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file atomically.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let new = self.path("new");
        fs::write(&new, contents).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// `--set key=path`, for a file of these.
    pub fn set(&self, key: &str, name: &str) -> [String; 2] {
        ["--set".to_owned(), format!("{key}={}", Path::display(&self.path(name)))]
    }
}
