//! The CPU time of a deposit, in Redis and in the client. Waiting does not count, so the figures are meaningful on a busy
//! machine too.
//!
//! Starts a `redis-server` for each setting of the append-only file, and commits deposits in batches that were decided
//! beforehand. For comparison it measures bare commands in the same run: one script call of 100 operations that looks up
//! each request, reads and writes packed accounts with one `MGET` and one `MSET`, and appends to one stream. That checks
//! nothing about an account, and is close to the limit of Redis.
//!
//! ```console
//! $ cargo run --release -p bank-store --example redis_commit
//! $ cargo run --release -p bank-store --example redis_commit -- --files off --batches 100 --accounts 1000
//! ```
#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the output is for people, and a tool that cannot continue fails"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use bank_store::{
    DurabilityLevel, Outcome, Proposal, RedisStore, Store,
    conformance::{
        Bank,
        commands::{deposit, id, named, open},
    },
    redis::{RedisOptions, RedisUrl},
};
use tempfile::TempDir;

/// The number of deposits in one measurement.
const OPERATIONS: usize = 20_000;
/// How often each measurement is repeated. The minimum is printed, which other processes disturbed least.
const ROUNDS_DEFAULT: usize = 5;
/// The number of accounts that one commit opens.
const OPENED_PER_COMMIT: usize = 1_000;
/// The number of operations in one call with bare commands, and of their accounts.
const BARE_BATCH: usize = 100;
const BARE_ACCOUNTS: usize = 1_000;
/// The number of hashes with their requests.
const BARE_BUCKETS: usize = 16;

const BARE_SCRIPT: &str = r"
    local n = tonumber(ARGV[1])
    local known = redis.call('HMGET', KEYS[n + 1], unpack(ARGV, 2, n + 1))
    for i = 1, n do if known[i] then return i end end
    local accounts = redis.call('MGET', unpack(KEYS, 1, n))
    local pairs, requests, entries = {}, {}, {}
    for i = 1, n do
        if accounts[i] and accounts[i] == '' then return -i end
        pairs[2 * i - 1], pairs[2 * i] = KEYS[i], ARGV[n + 1 + i]
        requests[2 * i - 1], requests[2 * i] = ARGV[1 + i], ARGV[n + 1 + i]
        entries[2 * i - 1], entries[2 * i] = KEYS[i], ARGV[n + 1 + i]
    end
    redis.call('MSET', unpack(pairs))
    redis.call('HSET', KEYS[n + 1], unpack(requests))
    redis.call('XADD', KEYS[n + 2], '*', unpack(entries))
    return 0";

struct Settings {
    files: Vec<String>,
    batches: Vec<usize>,
    accounts: Vec<usize>,
    rounds: usize,
}

impl Settings {
    fn from_arguments() -> Self {
        let mut settings = Self {
            files: ["off", "everysec", "always"].map(String::from).to_vec(),
            batches: vec![1, 16, 100, 256, 1_000],
            accounts: vec![1, 1_000, 100_000],
            rounds: ROUNDS_DEFAULT,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().expect("each setting has a value");
            let numbers = || value.split(',').map(|it| it.parse().expect("a number")).collect();
            match name.as_str() {
                "--files" => settings.files = value.split(',').map(String::from).collect(),
                "--batches" => settings.batches = numbers(),
                "--accounts" => settings.accounts = numbers(),
                "--rounds" => settings.rounds = value.parse().expect("a number"),
                _ => panic!("{name} is not one of --files, --batches, --accounts, --rounds"),
            }
        }
        settings
    }
}

/// A `redis-server` of this process, and a connection to it.
struct Redis {
    child: Child,
    port: u16,
    connection: BufReader<TcpStream>,
    _directory: TempDir,
}

impl Redis {
    fn start(file: &str) -> Self {
        let (directory, port) = (TempDir::new().unwrap(), free_port());
        let settings: &[&str] = match file {
            "off" => &["--appendonly", "no"],
            level => &["--appendonly", "yes", "--appendfsync", level],
        };
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).args(settings);
        // No rewrite of the file during a measurement.
        command.args(["--auto-aof-rewrite-percentage", "0", "--stream-node-max-bytes", "1024"]);
        let child = command.current_dir(directory.path()).stdout(Stdio::null()).spawn();
        let child = child.expect("redis-server 7.0 or newer must be installed");
        let deadline = Instant::now() + Duration::from_secs(10);
        let connection = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < deadline, "redis-server does not start: {error}"),
            }
            sleep(Duration::from_millis(20));
        };
        connection.set_nodelay(true).unwrap();
        Self { child, port, connection: BufReader::new(connection), _directory: directory }
    }

    async fn store(&self, level: &str) -> Arc<RedisStore> {
        let durability = match level {
            "off" => DurabilityLevel::None,
            "everysec" => DurabilityLevel::EverySecond,
            _ => DurabilityLevel::Always,
        };
        let url = RedisUrl::new(format!("redis://127.0.0.1:{}", self.port));
        let command_timeout = Duration::from_secs(30);
        let options = RedisOptions { url, durability, command_timeout, ..RedisOptions::default() };
        Arc::new(RedisStore::connect(&options).await.unwrap())
    }

    /// Sends a command whose reply is one line or one string.
    fn call(&mut self, words: &[&[u8]]) -> String {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request
                .extend(format!("${}\r\n", word.len()).bytes().chain(word.iter().copied()).chain(*b"\r\n"));
        }
        self.connection.get_mut().write_all(&request).unwrap();
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        assert!(!line.starts_with('-'), "{line}");
        let Some(length) = line.strip_prefix('$') else { return line };
        let mut text = vec![0; length.trim().parse::<usize>().unwrap() + 2];
        self.connection.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The CPU time of Redis so far, in microseconds.
    fn cpu_us(&mut self) -> f64 {
        let info = self.call(&[b"INFO", b"cpu"]);
        let seconds = |name: &str| -> f64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches(':').parse().unwrap()
        };
        1e6 * (seconds("used_cpu_user:") + seconds("used_cpu_sys:"))
    }

    /// The CPU time of Redis for an operation with bare commands, in microseconds.
    fn bare(&mut self, round: usize) -> f64 {
        let accounts: Vec<_> = (0..BARE_ACCOUNTS).map(|it| format!("bare:account:{it}")).collect();
        let value = "1767225600000-1234 100000 0123456789abcdef0123456789abcdef";
        let mut commands = Vec::new();
        for call in 0..OPERATIONS / BARE_BATCH {
            let mut words = vec![b"EVAL".to_vec(), BARE_SCRIPT.into(), (BARE_BATCH + 2).to_string().into()];
            let places = (0..BARE_BATCH).map(|it| (call * BARE_BATCH + it) % BARE_ACCOUNTS);
            words.extend(places.map(|place| accounts[place].clone().into_bytes()));
            words.extend([format!("bare:requests:{}", call % BARE_BUCKETS).into(), b"bare:entries".to_vec()]);
            words.push(BARE_BATCH.to_string().into());
            let request = |it| format!("account-{it} {round:08x}-{call:04x}-7000-8000-0123456789ab ");
            words.extend((0..BARE_BATCH).map(|it| request(it).into_bytes()));
            words.extend((0..BARE_BATCH).map(|_| value.into()));
            commands.push(words);
        }
        let before = self.cpu_us();
        for words in &commands {
            let words: Vec<_> = words.iter().map(Vec::as_slice).collect();
            assert_eq!(self.call(&words), ":0\r\n");
        }
        (self.cpu_us() - before) / OPERATIONS as f64
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The CPU time of this process so far, in microseconds. Its resolution is a hundredth of a second.
fn own_cpu_us() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10_000.0
}

fn name(number: usize) -> String {
    format!("account-{number}")
}

async fn open_accounts(bank: &Bank, count: usize) {
    let mut view = bank.view(&[]).await;
    let numbers: Vec<_> = (0..count).collect();
    for numbers in numbers.chunks(OPENED_PER_COMMIT) {
        let proposals: Vec<_> =
            numbers.iter().map(|it| view.propose(open(&name(*it)).owned_by("alice"))).collect();
        bank.commit(&proposals).await;
    }
}

/// Deposits in batches, each decided on the state after those before it. The accounts of a batch are not neighbors.
async fn proposals(bank: &Bank, accounts: usize, batch: usize, round: usize) -> Vec<Vec<Proposal>> {
    let operations = if batch == 1 { OPERATIONS / 4 } else { OPERATIONS };
    let stride = (0..operations).map(|it| (round * 7 + it * 7_919) % accounts);
    let ids: std::collections::BTreeSet<_> = stride.clone().collect();
    let ids: Vec<_> = ids.into_iter().map(|it| id(&name(it))).collect();
    let mut view = bank.view_of(&ids).await;
    let proposals: Vec<_> = stride
        .enumerate()
        .map(|(it, account)| {
            let request = format!("{round:08x}-{batch:04x}-7000-8000-{it:012x}");
            view.propose(named(&request, deposit(&name(account), 100)))
        })
        .collect();
    proposals.chunks(batch).map(<[Proposal]>::to_vec).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings::from_arguments();
    println!("{:>9} {:>8} {:>6} | redis us/op | own us/op", "file", "accounts", "batch");
    for file in &settings.files {
        let mut bare = f64::INFINITY;
        for &accounts in &settings.accounts {
            let mut redis = Redis::start(file);
            let store = redis.store(file).await;
            let bank = Bank::new(store.clone());
            open_accounts(&bank, accounts).await;
            let mut minima = vec![(f64::INFINITY, f64::INFINITY); settings.batches.len()];
            for round in 0..settings.rounds {
                bare = bare.min(redis.bare(round));
                for (&batch, minimum) in settings.batches.iter().zip(&mut minima) {
                    let batches = proposals(&bank.later(1 + round as i64), accounts, batch, round).await;
                    let operations: usize = batches.iter().map(Vec::len).sum();
                    let before = (redis.cpu_us(), own_cpu_us());
                    for batch in &batches {
                        let outcomes = store.commit(batch).await.unwrap().outcomes;
                        assert!(outcomes.iter().all(|it| *it == Outcome::Applied), "{outcomes:?}");
                    }
                    let us = |after: f64, before: f64| (after - before) / operations as f64;
                    minimum.0 = minimum.0.min(us(redis.cpu_us(), before.0));
                    minimum.1 = minimum.1.min(us(own_cpu_us(), before.1));
                }
            }
            for (batch, (of_redis, own)) in settings.batches.iter().zip(minima) {
                println!("{file:>9} {accounts:>8} {batch:>6} | {of_redis:>11.2} | {own:>9.2}");
            }
        }
        println!("{file:>9} {BARE_ACCOUNTS:>8} {BARE_BATCH:>6} | {bare:>11.2} | bare commands");
    }
}
