//! A `bank-server` on the in-memory store and a free port.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
};

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
        Self::run(Command::new(binary()).args(["--listen", address, "--admin-listen", "off"]))
    }

    /// As a command starts it, which must become the server itself.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("bank-server starts");
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
