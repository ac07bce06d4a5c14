//! A server on the embedded store that is killed, or that cannot write to its disk.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    assert_unharmed, flags, outage,
    support::{Bank, Process},
    trial::{Trial, up_to_ms},
};

/// The longest outage, without the time that a server takes to start.
const GONE_MS_MAX: u64 = 300;
/// How soon a server under load must notice that it cannot write.
const NOTICED_WITHIN: Duration = Duration::from_mins(1);
/// What a small disk is filled with, piece by piece, and how many pieces are left free at most.
const PIECE: [u8; 4096] = [1; 4096];
const PIECES_FREE_MAX: u64 = 8;
const INSTALL: &str = "util-linux must be installed (apt-get install util-linux)";

/// What the file of a bank is on.
enum Disk {
    /// A file system that only the server sees, and that ends with it.
    Small(TempDir),
    /// Files may not grow beyond a limit. Writes beyond it fail with EFBIG, as they would with ENOSPC on a
    /// full disk. That needs no privilege.
    Limited(TempDir),
}

impl Disk {
    /// A small one, if this machine lets its users mount file systems in name spaces of their own.
    fn small_if_allowed() -> Option<Self> {
        let disk = Self::Small(tempfile::tempdir().unwrap());
        let mut words = disk.words();
        words.push("true".to_owned());
        let output = Command::new(&words[0]).args(&words[1..]).output();
        output.is_ok_and(|output| output.status.success()).then_some(disk)
    }

    fn limited() -> Self {
        Self::Limited(tempfile::tempdir().unwrap())
    }

    /// Where the server finds it.
    fn directory(&self) -> &Path {
        let (Self::Small(directory) | Self::Limited(directory)) = self;
        directory.path()
    }

    fn file(&self) -> PathBuf {
        self.directory().join("bank.redb")
    }

    /// The command that makes the disk ready and then becomes another.
    fn words(&self) -> Vec<String> {
        let become_it = "exec \"$0\" \"$@\"";
        match self {
            Self::Small(directory) => {
                let script =
                    format!("mount -t tmpfs -o size=4m none '{}' && {become_it}", directory.path().display());
                ["unshare", "-Urm", "sh", "-c", &script].map(str::to_owned).to_vec()
            }
            // The signal that comes with EFBIG would end it.
            Self::Limited(_) => {
                ["sh", "-c", &format!("trap '' XFSZ; {become_it}")].map(str::to_owned).to_vec()
            }
        }
    }

    async fn bank(&self) -> Bank {
        let words = self.words();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let file = self.file();
        // Nothing stops it from writing before it is too late.
        let flags = flags(&["--data", file.to_str().unwrap(), "--set", "store.embedded.free_bytes_min=0"]);
        Bank::of(Process::start_by(&words, &flags)).await
    }

    /// Fills a small file system almost up, or limits the size of files.
    fn fill(&self, bank: &Bank, random: &mut StdRng) {
        match self {
            Self::Small(_) => {
                let free = random.random_range(0..=PIECES_FREE_MAX) * PIECE.len() as u64;
                let mut filler = File::create(self.filler(bank)).unwrap();
                while filler.write_all(&PIECE).is_ok() {}
                let length = filler.metadata().unwrap().len();
                filler.set_len(length.saturating_sub(free)).unwrap();
            }
            Self::Limited(_) => {
                let length = fs::metadata(self.file()).unwrap().len();
                limit_file_size(bank, &random.random_range(0..=length / 2).to_string());
            }
        }
    }

    fn free(&self, bank: &Bank) {
        match self {
            Self::Small(_) => fs::remove_file(self.filler(bank)).unwrap(),
            Self::Limited(_) => limit_file_size(bank, "unlimited"),
        }
    }

    /// The file that fills a small disk.
    fn filler(&self, bank: &Bank) -> PathBuf {
        let as_the_server_sees_it = self.directory().join("filler");
        let from_its_root = as_the_server_sees_it.strip_prefix("/").unwrap();
        Path::new("/proc").join(bank.id().to_string()).join("root").join(from_its_root)
    }
}

fn limit_file_size(bank: &Bank, bytes: &str) {
    let words = ["--pid", &bank.id().to_string(), &format!("--fsize={bytes}:")];
    assert!(Command::new("prlimit").args(words).status().expect(INSTALL).success(), "{words:?}");
}

/// Runs rounds in which the server cannot write from when `lose` returns until `regain` does.
async fn trial(fault: &'static str, bank: &Bank, lose: impl Fn(&mut StdRng), regain: impl Fn()) {
    let failures = || bank.log().matches("a write has failed; opening the file again").count();
    let trial = Trial::begin(fault, &[bank]).await;
    trial
        .run(async |random| {
            let before = failures();
            lose(random);
            let give_up_at = Instant::now() + NOTICED_WITHIN;
            while failures() == before {
                assert!(Instant::now() < give_up_at, "no write has failed");
                sleep(Duration::from_millis(1)).await;
            }
            outage(random).await;
            regain();
            1
        })
        .await;
    assert_unharmed(bank);
}

/// Checks the file with `--check-store`.
async fn assert_in_order(path: &Path) {
    let check = Process::start(&["--data", path.to_str().unwrap(), "--check-store"]);
    assert!(check.wait_exit().await.success(), "{}{}", check.log(), check.errors());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_a_server_on_a_file_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.redb");
    let mut bank = Bank::on_file_with(&path, &flags(&[])).await;
    let trial = Trial::begin("kill -9 of a server with a file", &[&bank]).await;
    trial
        .run(async |random| {
            bank.kill();
            assert_unharmed(&bank);
            up_to_ms(random, GONE_MS_MAX).await;
            bank.start_again().await;
            1
        })
        .await;
    assert_unharmed(&bank);
    bank.kill();
    assert_in_order(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_the_disk_is_full() {
    let disk = Disk::limited();
    let bank = disk.bank().await;
    trial("writes to the file fail", &bank, |random| disk.fill(&bank, random), || disk.free(&bank)).await;
    bank.kill();
    assert_in_order(&disk.file()).await;

    match Disk::small_if_allowed() {
        Some(disk) => {
            let bank = disk.bank().await;
            let fault = "disk full (a tmpfs of 4 MiB)";
            trial(fault, &bank, |random| disk.fill(&bank, random), || disk.free(&bank)).await;
        }
        None => println!("this machine lets us mount no file system: no disk is full, writes just fail"),
    }
}
