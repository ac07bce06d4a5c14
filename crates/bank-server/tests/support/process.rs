//! One run of `bank-server`.

use std::{
    env,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

const SERVER: &str = env!("CARGO_BIN_EXE_bank-server");
const ANY_PORT: (&str, &str) = ("BANK__SERVER__LISTEN", "127.0.0.1:0");
/// How long anything may take before a test fails. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(5);

/// One run of `bank-server`, which is killed when this is dropped.
///
/// Waiting for it does not block the async runtime: clients in the same test continue.
pub struct Process {
    command: Command,
    child: Mutex<Child>,
    log: Output,
    errors: Output,
}

/// What a process has written so far.
struct Output {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Runs it with flags, on a free port unless they say otherwise.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(flags, &[ANY_PORT])
    }

    /// Runs it with flags, and with these variables as its only settings from the environment.
    pub fn start_in(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_from(Path::new("."), flags, variables)
    }

    /// The same in the given directory.
    pub fn start_from(directory: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(SERVER);
        command.current_dir(directory).args(flags);
        Self::run(command, variables)
    }

    /// Runs it with flags by way of a command that becomes it, such as
    /// `&["sh", "-c", "umask 077; exec \"$0\" \"$@\""]`.
    pub fn start_by(words: &[&str], flags: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(SERVER).args(flags);
        Self::run(command, &[ANY_PORT])
    }

    fn run(mut command: Command, variables: &[(&str, &str)]) -> Self {
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("BANK_") {
                command.env_remove(name);
            }
        }
        // Servers that run side by side cannot all have the admin port of the defaults.
        command.env("BANK__ADMIN__LISTEN", "127.0.0.1:0");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, log, errors) = spawn(&mut command);
        Self { command, child, log, errors }
    }

    /// Runs it once more as before, on this port, after it has ended.
    pub fn start_again(&mut self, port: u16) {
        self.command.env(ANY_PORT.0, format!("127.0.0.1:{port}"));
        (self.child, self.log, self.errors) = spawn(&mut self.command);
    }

    /// The id of the process, for as long as it has not ended.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// What it has written to standard output: its log, one JSON object a line.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        self.errors.text()
    }

    /// The lines of its log.
    pub fn lines(&self) -> Vec<Value> {
        let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.log().lines().map(parsed).collect()
    }

    /// The first line of the log whose message begins so, once it is there.
    pub async fn logged(&self, beginning: &str) -> Value {
        let begins =
            |line: &Value| line["message"].as_str().is_some_and(|message| message.starts_with(beginning));
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            // In this order, so that its last line is not missed.
            let all_said = self.log.reader.is_finished();
            if let Some(line) = self.lines().into_iter().find(begins) {
                return line;
            }
            assert!(!all_said, "it ended without logging {beginning:?}");
            assert!(Instant::now() < give_up_at, "it has not logged {beginning:?} within {PATIENCE:?}");
            sleep(PAUSE).await;
        }
    }

    /// How much memory it has, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.status_of_process("VmRSS:")
    }

    /// How much memory it has had at most, in KiB.
    pub fn memory_peak_kib(&self) -> u64 {
        self.status_of_process("VmHWM:")
    }

    /// How many threads it has.
    pub fn threads(&self) -> u64 {
        self.status_of_process("Threads:")
    }

    fn status_of_process(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.lock().unwrap().id());
        let status = std::fs::read_to_string(path).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a signal by its name, such as `TERM`; none if it has ended.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Sends SIGTERM, and waits until it has ended.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit().await
    }

    /// Kills it: it has no chance to finish anything.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until it has ended, and all its output has been read.
    pub async fn wait_exit(&self) -> ExitStatus {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let all_read = self.log.reader.is_finished() && self.errors.reader.is_finished();
            if let Some(status) = self.exit().filter(|_| all_read) {
                return status;
            }
            assert!(Instant::now() < give_up_at, "it has not ended within {PATIENCE:?}");
            sleep(PAUSE).await;
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that panicked while it held the lock must not panic again.
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- bank-server said:\n{}{}---", self.log(), self.errors());
        }
    }
}

fn spawn(command: &mut Command) -> (Mutex<Child>, Output, Output) {
    let mut child = command.spawn().unwrap();
    let log = Output::collect(child.stdout.take().unwrap());
    let errors = Output::collect(child.stderr.take().unwrap());
    (Mutex::new(child), log, errors)
}

/// Sends a signal to a child that has not ended.
pub(super) fn signal(child: &Mutex<Child>, name: &str) {
    let mut child = child.lock().unwrap();
    // As long as it has not been waited for, its id is its own.
    if child.try_wait().unwrap().is_none() {
        // The shell's own `kill`: the one of procps misreads some arguments as other processes.
        let command = format!("kill -s {name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }
}

impl Output {
    fn collect(output: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut text = shared.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }
}
