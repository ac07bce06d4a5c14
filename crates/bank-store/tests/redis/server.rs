//! Real Redis servers for the tests: child processes, each with its own directory, which are removed when they are
//! dropped.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    mem,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bank_store::{
    DurabilityLevel, RedisStore, StoreError,
    clock::{SystemClock, Timekeeper},
    redis::{RedisOptions, RedisUrl},
};
use tempfile::TempDir;
use tokio::{sync::Mutex, time::timeout};

const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Long enough that no commit is too late on a slow machine.
const CLOCK_OFFSET_MAX: Duration = Duration::from_mins(10);
/// How many ports are tried, since another process may take one first.
const STARTS_MAX: usize = 5;
const INSTALL: &str = "redis-cli 7.0 or newer must be installed: run scripts/setup";

/// A running Redis, or Sentinel.
pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

/// The Redis that most tests share, for as long as one of them runs.
pub(crate) async fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start(&[]));
    *shared = Arc::downgrade(&server);
    server
}

impl Server {
    /// A Redis for one test, with settings as on its command line: `&["--appendonly", "yes"]`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        // Nothing is written to disk unless a test asks for it.
        Self::start_in(
            TempDir::new().unwrap(),
            &[&["--save", "", "--enable-debug-command", "yes"], settings].concat(),
        )
    }

    /// A replica of another, once it has all that the other has.
    pub(crate) fn start_replica(primary: &Self, settings: &[&str]) -> Self {
        let of = ["--replicaof", "127.0.0.1", &primary.port.to_string()];
        let replica = Self::start(&[&of, settings].concat());
        let deadline = Instant::now() + START_TIMEOUT;
        while !replica.run(&["INFO", "replication"]).contains("link_status:up") {
            assert!(Instant::now() < deadline, "the replica has not joined");
            thread::sleep(Duration::from_millis(10));
        }
        replica
    }

    /// A node for a cluster that has not met others yet, and the port of its bus.
    pub(crate) fn start_node(settings: &[&str]) -> (Self, u16) {
        let bus_port = free_port();
        let bus = ["--cluster-enabled", "yes", "--cluster-port", &bus_port.to_string()];
        (Self::start(&[&bus, settings].concat()), bus_port)
    }

    /// A Sentinel by its configuration.
    pub(crate) fn start_sentinel(configuration: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("sentinel.conf"), configuration).unwrap();
        Self::start_in(directory, &["sentinel.conf", "--sentinel"])
    }

    fn start_in(mut directory: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let child = spawn(port, &arguments, directory.path());
            let mut server = Self { child, port, arguments: arguments.clone(), directory };
            if server.is_up() {
                return server;
            }
            directory = mem::replace(&mut server.directory, TempDir::new().unwrap());
        }
        panic!(
            "{} does not start: {}",
            super::SERVER.path,
            fs::read_to_string(directory.path().join("log")).unwrap()
        );
    }

    /// Kills it, like a crash.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Freezes it; its connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Resumes it.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: the one of procps misreads some arguments as other processes.
        let command = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    /// Starts it again with the data on its disk.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.arguments, self.directory.path());
        assert!(self.is_up(), "it does not start again");
    }

    /// Starts it again, without waiting until it has loaded its data.
    pub(crate) fn start_again_loading(&mut self) {
        self.child = spawn(self.port, &self.arguments, self.directory.path());
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// See [`options`].
    pub(crate) fn options(&self) -> RedisOptions {
        options(self.url())
    }

    /// An empty bank.
    pub(crate) async fn store(&self) -> RedisStore {
        connect(&self.options()).await
    }

    /// Runs a command and returns its reply as text.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        self.run_in("0", words)
    }

    /// Runs a command without waiting for the reply.
    pub(crate) fn spawn(&self, words: &[&str]) -> Child {
        self.cli("0", words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect(INSTALL)
    }

    fn cli(&self, database: &str, words: &[&str]) -> Command {
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port, "-n", database]).args(words);
        command
    }

    /// Runs a command in one of the databases and returns its reply as text.
    pub(crate) fn run_in(&self, database: &str, words: &[&str]) -> String {
        let output = self.cli(database, words).output().expect(INSTALL);
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    /// The only key whose name begins with the bank's prefix and ends like this.
    pub(crate) fn key(&self, options: &RedisOptions, end: &str) -> String {
        let keys = self.run(&["KEYS", &format!("{}:*{end}", options.key_prefix)]);
        assert_eq!(keys.lines().count(), 1, "{end}: {keys:?}");
        keys
    }

    /// Whether it replies in time, and is the one that was started.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if ping(self.port)
                .is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
            {
                return self.child.try_wait().unwrap().is_none();
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, arguments: &[String], directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut command = Command::new(super::SERVER.path);
    command.args(arguments).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.current_dir(directory).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.spawn().expect(super::SERVER.install)
}

fn ping(port: u16) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    connection.write_all(b"PING\r\n")?;
    let mut answer = [0; 64];
    let length = connection.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// A free port. It is below the range that the system assigns, so that nobody gets it while a server is down.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Options for a Redis, with short timeouts and an empty bank that is not durable.
pub(crate) fn options(url: impl Into<String>) -> RedisOptions {
    static BANKS: AtomicUsize = AtomicUsize::new(1);
    RedisOptions {
        url: RedisUrl::new(url),
        key_prefix: format!("bank-{}", BANKS.fetch_add(1, Ordering::Relaxed)),
        // Fewer than usual: each test initializes a bank.
        partitions: 64,
        connect_timeout: Duration::from_secs(5),
        command_timeout: Duration::from_secs(2),
        reconnect_delay_min: Duration::from_millis(10),
        reconnect_delay_max: Duration::from_millis(200),
        watchdog_interval: Duration::from_millis(100),
        durability: DurabilityLevel::None,
        clock: Timekeeper::new(Arc::new(SystemClock), CLOCK_OFFSET_MAX),
        ..RedisOptions::default()
    }
}

pub(crate) async fn connect(options: &RedisOptions) -> RedisStore {
    RedisStore::connect(options).await.unwrap()
}

pub(crate) async fn connect_error(options: &RedisOptions) -> StoreError {
    RedisStore::connect(options).await.err().unwrap()
}

/// The same, for an error without retries.
pub(crate) async fn final_connect_error(options: &RedisOptions) -> StoreError {
    let options = RedisOptions { connect_timeout: Duration::from_mins(10), ..options.clone() };
    timeout(Duration::from_mins(1), connect_error(&options)).await.expect("it is not tried again")
}
