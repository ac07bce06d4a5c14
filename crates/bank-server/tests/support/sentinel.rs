//! Three Sentinels.

use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Redis;

const PATIENCE: Duration = Duration::from_mins(1);
/// As long as a server with its default timeouts needs.
const DOWN_AFTER_MS: u64 = 3_500;

/// Sentinels that watch over a primary and its replicas, and end when this is dropped.
pub struct Sentinels(Vec<Sentinel>);

struct Sentinel {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Sentinels {
    /// Starts them, and waits until they know each other and the replicas.
    pub async fn watch_over(primary: &Redis, replicas: usize) -> Self {
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(primary.port())).collect();
        let met = [("num-other-sentinels", "2".to_owned()), ("num-slaves", replicas.to_string())];
        let give_up_at = Instant::now() + PATIENCE;
        for sentinel in &sentinels {
            loop {
                let about = sentinel.run(&["SENTINEL", "MASTER", "bank"]);
                let fields: Vec<_> = about.lines().collect();
                if met.iter().all(|(name, value)| fields.windows(2).any(|pair| pair == [*name, value])) {
                    break;
                }
                assert!(Instant::now() < give_up_at, "the sentinels have not met: {about}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        Self(sentinels)
    }

    /// For `store.redis.url`.
    pub fn url(&self) -> String {
        let place = |sentinel: &Sentinel| format!("127.0.0.1:{}", sentinel.port);
        let others: Vec<_> =
            self.0[1..].iter().map(|sentinel| format!("&node={}", place(sentinel))).collect();
        format!("redis-sentinel://{}?sentinelServiceName=bank{}", place(&self.0[0]), others.concat())
    }
}

impl Sentinel {
    fn start(primary: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "sentinel monitor bank 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds bank {DOWN_AFTER_MS}\n\
             sentinel failover-timeout bank 5000\n"
        );
        fs::write(directory.path().join("sentinel.conf"), configuration).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["sentinel.conf", "--sentinel", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server 7.0 or newer must be installed");
        Self { child, port, _directory: directory }
    }

    fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        let output = command.output().expect("redis-cli 7.0 or newer must be installed");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
