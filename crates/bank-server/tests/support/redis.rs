//! A real Redis.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::process::signal;

/// How long it has to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many ports are tried if they are in use.
const STARTS_MAX: usize = 5;
const INSTALL: &str =
    "redis-server and redis-cli 7.0 or newer must be installed (apt-get install redis-server)";

/// A `redis-server` on a free port, which ends when this is dropped.
pub struct Redis {
    child: Mutex<Child>,
    port: u16,
    password: Option<String>,
    settings: Vec<String>,
    /// Where its files are; kept for as long as it runs.
    directory: TempDir,
}

impl Redis {
    /// Keeps nothing on disk.
    pub async fn start() -> Self {
        Self::start_with(&[], None).await
    }

    /// Keeps on disk what it has acknowledged, so that it can be killed and restarted.
    pub async fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"], None).await
    }

    /// Lets in only who knows the password.
    pub async fn start_locked(password: &str) -> Self {
        Self::start_with(&["--requirepass", password], Some(password)).await
    }

    /// Follows another, once it has all that the other has.
    pub async fn start_replica(primary: &Self) -> Self {
        let port = primary.port.to_string();
        let replica =
            Self::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"], None)
                .await;
        let give_up_at = Instant::now() + PATIENCE;
        while !replica.run(&["INFO", "replication"]).contains("link_status:up") {
            assert!(Instant::now() < give_up_at, "the replica has not joined");
            sleep(Duration::from_millis(10)).await;
        }
        replica
    }

    /// With settings as on its command line.
    pub async fn start_with(settings: &[&str], password: Option<&str>) -> Self {
        for _ in 0..STARTS_MAX {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let settings: Vec<_> = settings.iter().map(|&word| word.to_owned()).collect();
            let redis = Self {
                child: Mutex::new(spawn(port, &settings, &directory)),
                port,
                password: password.map(str::to_owned),
                settings,
                directory,
            };
            if redis.is_up().await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// For `store.redis.url`.
    pub fn url(&self) -> String {
        let credentials = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}{}", credentials.unwrap_or_default(), self.address())
    }

    /// The flags of a server that uses it: its address and durability.
    pub fn flags(&self) -> Vec<String> {
        let is_durable = self.settings.iter().any(|word| word == "--appendonly");
        let level = if is_durable { "always" } else { "none" };
        let durability = format!("store.redis.durability={level}");
        vec!["--redis-url".to_owned(), self.url(), "--set".to_owned(), durability]
    }

    /// What it answers to a command, such as `&["HGETALL", "bank:{0}:meta"]`, as text.
    pub fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.output().expect(INSTALL);
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    /// Kills it, and leaves its files as they are.
    pub fn kill(&mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on its port, with its files.
    pub async fn restart(&mut self) {
        self.kill();
        *self.child.get_mut().unwrap() = spawn(self.port, &self.settings, &self.directory);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    /// Stops it from doing anything; its connections stay open.
    pub fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// Continues it.
    pub fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// Waits until its log says that it is ready. A reply on its port might come from another process.
    async fn is_up(&self) -> bool {
        let give_up_at = Instant::now() + PATIENCE;
        let ended = || self.child.lock().unwrap().try_wait().unwrap().is_some();
        while !ended() && Instant::now() < give_up_at {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap();
            if log.contains("Ready to accept connections") {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A test that panicked while it held the lock must not panic again.
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A free port; another process may take it before Redis does. It is below the ephemeral ports, so that no other
/// process gets it while a Redis is down and about to be restarted.
pub(super) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, settings: &[String], directory: &TempDir) -> Child {
    let log = File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).args(settings);
    command.current_dir(directory.path()).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.spawn().expect(INSTALL)
}
