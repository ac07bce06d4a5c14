//! The measured processes: servers and Redis. Each ends when its value is dropped.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bank_store::{DurabilityLevel, redis::RedisUrl};
use tempfile::TempDir;

/// The argument that makes this program the server that does nothing.
pub(crate) const SERVE_NOOP: &str = "serve-noop";

/// How long a process has to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How many ports are tried if they are in use.
const STARTS_MAX: usize = 5;
const INSTALL: &str = "redis-server 7.0 or newer must be installed (apt-get install redis-server)";

/// A child that is killed when this is dropped.
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        // In a group of its own: Ctrl-C is for this program, which ends its children itself.
        Ok(Self(command.stdin(Stdio::null()).process_group(0).spawn()?))
    }

    /// The processor time that it has used, in steps of a hundredth of a second.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name is in parentheses and may have blanks; the state and ten others are before the times.
        let (_, fields) = stat.rsplit_once(") ").context("/proc has another form than expected")?;
        let times: Vec<u64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        let ticks: u64 = times.iter().sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    fn memory_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = resident.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that takes calls.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// The one that does nothing.
    pub(crate) fn noop() -> anyhow::Result<Self> {
        Self::start(Command::new(env::current_exe()?).arg(SERVE_NOOP))
    }

    /// A build of `bank-server` with these flags, and without limits for single callers.
    pub(crate) fn bank(binary: &Path, flags: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("BANK_") {
                command.env_remove(name);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "off"]).args(flags);
        for setting in ["callers.calls_per_second_max=1000000000", "callers.calls_burst_max=1000000000"] {
            command.args(["--set", setting]);
        }
        Self::start(&mut command)
    }

    /// Waits until it reports its port.
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = Process::spawn(command.stdout(Stdio::piped()))?;
        let log = process.0.stdout.take().context("its log is piped")?;
        let (found, address) = mpsc::channel();
        thread::spawn(move || {
            // It would block if its output were not read.
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = line["address"].as_str() {
                    let _ = found.send(address.to_owned());
                }
            }
        });
        let address = address.recv_timeout(START_TIMEOUT);
        let address = address.context("the server has not said where it listens; see above")?.parse()?;
        Ok(Self { process, address })
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.process.cpu()
    }

    pub(crate) fn memory_bytes(&self) -> anyhow::Result<u64> {
        self.process.memory_bytes()
    }
}

/// A `redis-server` on a free port of this machine.
pub(crate) struct Redis {
    process: Process,
    port: u16,
    pub(crate) durability: DurabilityLevel,
    /// Kept for as long as it runs.
    _directory: TempDir,
}

impl Redis {
    /// With its files in a new directory in this one.
    pub(crate) fn start(durability: DurabilityLevel, directory: &Path) -> anyhow::Result<Self> {
        let settings: &[&str] = match durability {
            DurabilityLevel::None => &["--appendonly", "no"],
            DurabilityLevel::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            DurabilityLevel::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        };
        for _ in 0..STARTS_MAX {
            let directory = tempfile::tempdir_in(directory)?;
            // The port is free now; another process may take it before Redis does.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let log = directory.path().join("log");
            let mut command = Command::new("redis-server");
            command
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                // A rewrite of the file during a measurement would be measured, too.
                .args(["--auto-aof-rewrite-percentage", "0", "--lazyfree-lazy-expire", "yes"])
                .args(settings)
                .current_dir(directory.path())
                .stdout(File::create(&log)?)
                .stderr(Stdio::null());
            let mut process = Process::spawn(&mut command).context(INSTALL)?;
            let give_up_at = Instant::now() + START_TIMEOUT;
            while process.0.try_wait()?.is_none() {
                if fs::read_to_string(&log)?.contains("Ready to accept connections") {
                    return Ok(Self { process, port, durability, _directory: directory });
                }
                ensure!(Instant::now() < give_up_at, "redis-server is not ready within {START_TIMEOUT:?}");
                thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("redis-server ends at once; {INSTALL}")
    }

    pub(crate) fn url(&self) -> RedisUrl {
        RedisUrl::new(format!("redis://127.0.0.1:{}", self.port))
    }

    /// The flags of a server that uses it.
    pub(crate) fn flags(&self) -> Vec<String> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let durability = format!("store.redis.durability={}", self.durability);
        ["--redis-url", &url, "--set", &durability].map(str::to_owned).to_vec()
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.process.cpu()
    }
}
