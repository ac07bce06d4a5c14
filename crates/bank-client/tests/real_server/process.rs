//! A `bank-server` on a free port, and a Redis for it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Runs until it is dropped.
pub(crate) struct Server {
    process: Child,
    /// `127.0.0.1:<port>`
    pub(crate) address: String,
}

impl Server {
    /// On a free port.
    pub(crate) fn start() -> Self {
        Self::listen("127.0.0.1:0")
    }

    pub(crate) fn listen(address: &str) -> Self {
        Self::start_with(&["--listen", address, "--store", "memory"])
    }

    /// On a free port, with the accounts in a Redis.
    pub(crate) fn on_redis(redis: &Redis) -> Self {
        let nothing_on_disk = "store.redis.durability=none";
        Self::start_with(&["--listen", "127.0.0.1:0", "--redis-url", &redis.url(), "--set", nothing_on_disk])
    }

    /// On a free port, with the accounts in a file.
    pub(crate) fn on_file(path: &Path) -> Self {
        Self::start_with(&["--listen", "127.0.0.1:0", "--data", path.to_str().unwrap()])
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::run(Command::new(binary()).args(["--admin-listen", "off"]).args(flags))
    }

    /// As a command starts it, which must become the server itself.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("starting bank-server");
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = log
            .by_ref()
            .find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
                line["address"].as_str().map(ToOwned::to_owned)
            })
            .expect("bank-server says where it listens");
        // It would stop if nobody read on.
        thread::spawn(move || log.for_each(drop));
        Self { process, address }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server that was built with the tool: in its directory. `cargo test -p bank-client` does not
/// build it, so it is built here if it is not there.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_bank")).with_file_name("bank-server");
        if !path.exists() {
            let profile = path.parent().and_then(Path::file_name).unwrap();
            let profile = if profile == "debug" { "dev" } else { profile.to_str().unwrap() };
            let built = Command::new(env!("CARGO"))
                .args(["build", "--package", "bank-server", "--bin", "bank-server", "--profile", profile])
                .status();
            assert!(built.expect("cargo runs").success(), "bank-server must build for this test");
        }
        path
    })
}

/// A Redis on a free port, which keeps nothing on disk.
pub(crate) struct Redis {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Redis {
    /// Waits until it answers.
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        // Below the ports that the system gives away, so that nobody is given it before Redis is up.
        let port = rand::random_range(10_000..32_000);
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7.0 or newer must be installed");
        let redis = Self { process, port, _directory: directory };
        for _ in 0..6_000 {
            if redis.run(&["PING"]) == "PONG" {
                return redis;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not start");
    }

    /// What it answers to a command.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(words).output();
        let output = output.expect("redis-cli 7.0 or newer must be installed");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
