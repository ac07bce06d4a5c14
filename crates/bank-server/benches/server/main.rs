//! How fast the bank is, next to its limits, in one run on one machine: a
//! server of tonic that does nothing, and Redis without a server around it. docs/performance.md says how to
//! read it.
//!
//! The load, the servers and Redis are processes of their own that share the processors. Every round
//! measures everything once, on servers that are started for it; so what disturbs the machine for a
//! while disturbs all alike. What counts is the median of the rounds, and of ratios the median of the ratios
//! within each round.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "figures are estimates, and for people"
)]

mod cases;
mod frames;
mod messages;
mod meter;
mod noop;
mod process;
mod raw;
mod redis_alone;
mod report;
mod results;
mod sample;
mod standing;
mod tonic_client;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use tokio::runtime;

use crate::{
    cases::{ACCOUNTS, Case, MANY_ACCOUNTS, Selection, Stand},
    results::Results,
    standing::{Standing, Timing},
};

/// The build that this program was compiled with.
const BANK_SERVER: &str = env!("CARGO_BIN_EXE_bank-server");

/// As in the server, for the no-op server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures how fast the bank is, side by side with the limits of what it stands on.
///
/// Without a flag it takes about ten minutes.
#[derive(Debug, Parser)]
#[command(name = "server")]
struct Args {
    /// Fewer loads on fewer stores, shorter: about two minutes
    #[arg(long)]
    quick: bool,
    /// Every load on every store, longer, and a million accounts
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// How often everything is measured; at least five for figures that are to be relied on
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: Option<u16>,
    /// Only on what has this in its name: no-op, memory, embedded, redis off, raw redis everysec...
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    on: Vec<String>,
    /// Measure this binary of another build of bank-server too, in the same rounds, and compare
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Only loads that have one of these in their name: unary, "8x32 raw", commits...
    load: Vec<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is done.
struct Effort {
    rounds: usize,
    timing: Timing,
}

impl Args {
    fn effort(&self) -> Effort {
        let (rounds, warm_up_ms, duration_ms) = match (self.quick, self.full) {
            (true, _) => (5, 200, 500),
            (false, false) => (5, 300, 1_000),
            (false, true) => (7, 500, 3_000),
        };
        let timing = Timing {
            warm_up: Duration::from_millis(warm_up_ms),
            duration: Duration::from_millis(duration_ms),
        };
        Effort { rounds: self.rounds.map_or(rounds, usize::from), timing }
    }

    fn selection(&self) -> Selection {
        Selection { is_quick: self.quick, stands: self.on.clone(), cases: self.load.clone() }
    }
}

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|argument| argument == process::SERVE_NOOP) {
        return exit_code(noop::serve().map(|()| true));
    }
    let args = Args::parse();
    if !args.bench {
        println!("figures of a build for tests mean nothing; run `cargo bench -p bank-server`");
        return ExitCode::SUCCESS;
    }
    exit_code(run(&args))
}

fn exit_code(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured.
fn run(args: &Args) -> anyhow::Result<bool> {
    let (effort, selection) = (args.effort(), args.selection());
    let mut plan = selection.plan();
    let on_many = if args.full { selection.plan_on_many() } else { Vec::new() };
    ensure!(!plan.is_empty() || !on_many.is_empty(), "no measurement has such a name");
    let directory = results_directory()?;
    let files = tempfile::tempdir_in(&directory)?;
    let mut builds = vec![Build { binary: PathBuf::from(BANK_SERVER), results: Results::default() }];
    if let Some(binary) = &args.against {
        let binary = binary.canonicalize().with_context(|| format!("--against {}", binary.display()))?;
        builds.push(Build { binary, results: Results::default() });
    }
    let mut bench = Bench {
        effort,
        files: files.path(),
        began_at: Instant::now(),
        interrupted: interrupts()?,
        builds,
        all_measured: true,
    };
    for round in 0..bench.effort.rounds {
        let when = format!("round {} of {}", round + 1, bench.effort.rounds);
        for (stand, cases) in &plan {
            let mut builds = bench.builds_on(*stand);
            // So neither build is always the first.
            let first = round % builds.len();
            builds.rotate_left(first);
            for build in builds {
                let standing = bench.stand(*stand, build, ACCOUNTS, &when)?;
                bench.measure(*stand, build, standing.as_ref(), cases, round)?;
            }
        }
        // So no stand is always the first.
        let others = usize::from(!plan.is_empty());
        plan.rotate_left(others);
    }
    for (stand, cases) in &on_many {
        let mut standings = Vec::new();
        for build in bench.builds_on(*stand) {
            standings.push((build, bench.stand(*stand, build, MANY_ACCOUNTS, "a million accounts")?));
        }
        for round in 0..bench.effort.rounds {
            for (build, standing) in &standings {
                bench.measure(*stand, *build, standing.as_ref(), cases, round)?;
            }
        }
    }
    let results = &bench.builds[0].results;
    let earlier = bench.builds.get(1).map(|build| &build.results);
    let claims = results::claims(results);
    println!("{}", report::tables(results, earlier, &claims));
    let path = report::write(results, earlier, &claims, &bench.effort, &directory)?;
    println!("\nEvery round is in {}", path.display());
    Ok(bench.all_measured)
}

/// A build of `bank-server`, and what was measured of it.
struct Build {
    binary: PathBuf,
    results: Results,
}

/// A run. A case that cannot be measured is reported, and the run continues.
struct Bench<'a> {
    effort: Effort,
    files: &'a Path,
    began_at: Instant,
    interrupted: Arc<AtomicBool>,
    /// The build under test, then the one to compare it with if there is one.
    builds: Vec<Build>,
    all_measured: bool,
}

impl Bench<'_> {
    /// The builds that can be measured on a stand; only the first one where no server is involved.
    fn builds_on(&self, stand: Stand) -> Vec<usize> {
        (0..if stand.has_bank() { self.builds.len() } else { 1 }).collect()
    }

    /// Sets a stand up with so many accounts; `None` if it cannot be.
    fn stand(
        &self,
        stand: Stand,
        build: usize,
        accounts: u32,
        when: &str,
    ) -> anyhow::Result<Option<Standing>> {
        let which = if build == 0 { "" } else { ", the other build" };
        eprintln!("{:4} s  {when}: {}{which}", self.began_at.elapsed().as_secs(), stand.name());
        let standing = Standing::start(stand, &self.builds[build].binary, self.files).and_then(|standing| {
            if !matches!(stand, Stand::Noop | Stand::RedisAlone(_)) {
                standing.open_accounts(accounts)?;
            }
            Ok(standing)
        });
        ensure!(!self.interrupted.load(Relaxed), "interrupted");
        Ok(standing.map_err(|error| eprintln!("        {error:#}")).ok())
    }

    /// Runs loads on a stand, one after the other.
    fn measure(
        &mut self,
        stand: Stand,
        build: usize,
        standing: Option<&Standing>,
        cases: &[&'static Case],
        round: usize,
    ) -> anyhow::Result<()> {
        for case in cases {
            let sample = standing.and_then(|standing| {
                let measured = standing.measure(case.load, self.effort.timing);
                measured.map_err(|error| eprintln!("        {}: {error:#}", case.name)).ok()
            });
            ensure!(!self.interrupted.load(Relaxed), "interrupted");
            self.all_measured &= sample.is_some();
            self.builds[build].results.add(stand, case.name, round, sample);
        }
        Ok(())
    }
}

/// `target/bench`, wherever that is.
fn results_directory() -> anyhow::Result<PathBuf> {
    let server = Path::new(BANK_SERVER);
    let target = server.parent().and_then(Path::parent).context("the server is in no target directory")?;
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Set by Ctrl-C and SIGTERM. What runs then is finished first, which takes seconds, and nothing stays behind.
fn interrupts() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let mut signals = bank_server::server::Signals::listen()?;
    drop(inside);
    thread::spawn(move || {
        runtime.block_on(signals.next());
        flag.store(true, Relaxed);
    });
    Ok(interrupted)
}
