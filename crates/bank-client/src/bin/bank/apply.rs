//! `bank apply`: the operations of a file, each exactly once, however often the file is edited and the command is run.
//!
//! ```text
//! input         bytes -> rows of columns                CSV, JSON lines
//! instruction   row -> what a line asks for             validated, in a canonical spelling
//! lines         all lines, with their identities        request ids
//! journal       records -> state of all requests        what was sent, and its results
//! results_file  the journal on disk
//! plan          lines + journal -> what to do           pure
//! bank          the bank, as a run needs it             a trait, for tests with failures
//! engine        carries out the plan
//! remote        the bank behind a connection            gRPC
//! summary       the outcome of the run                  numbers, exit code, how to continue
//! ```

mod bank;
mod caller;
mod dry_run;
mod engine;
mod input;
mod instruction;
mod journal;
mod lines;
mod plan;
mod remote;
mod report;
mod results_file;
mod row;
mod summary;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bank_client::{BankClient, ServerInfo};
use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    bank::{Bank as _, Window},
    caller::caller,
    dry_run::DryRun,
    engine::Engine,
    input::FILE_BYTES_MAX,
    journal::{Caller, History, Record, Run},
    lines::{Identity, Line, Problems},
    plan::{BatchSize, Options},
    remote::{OVERLOADED_MAX, Remote},
    report::{Outcome, Report, Stop},
    results_file::{Location, ResultsFile, STANDARD},
    summary::Summary,
};
use crate::{
    args::{self, Global},
    connect,
    failure::{Exit, Failure},
    output::Output,
    progress,
};

/// How far the clocks of this machine and of servers may differ, plus the time that a batch takes besides timeouts.
const SLACK: Duration = Duration::from_mins(10);
/// The part of a message to the bank that operations may fill.
const BATCH_SHARE: (u64, u64) = (9, 10);

pub(crate) async fn run(
    client: &BankClient,
    global: &Global,
    args: args::Apply,
    output: &mut Output,
) -> Result<(), Failure> {
    let lines = Arc::new(read(&args)?);
    let location = Location::of(&args.file, args.results.as_deref())?;
    let dry_run = args.validate_only;
    let job = Job {
        client,
        caller: connect::token(&global.credentials)?.as_deref().map(caller),
        info: client.server_info().await?,
        timeout: global.timeout,
        args,
        lines,
        bar: progress::bar(None, "{wide_bar} {human_pos}/{human_len} lines, {per_sec}, {eta}"),
    };
    job.bar.set_length(job.lines.len() as u64);
    let reported = match &location {
        location if dry_run => job.check(location.as_ref()).await,
        Some(location) => job.apply(location).await,
        None => Err(Failure::incomplete("standard input", "--results")),
    };
    job.bar.finish_and_clear();
    let summary = Summary { report: reported?, lines: &job.lines, dry_run };
    output.result(summary.json(), summary.table());
    for note in job.notes(&summary.report) {
        output.note(&note);
    }
    summary.verdict(location.as_ref().map(|location| &*location.path))
}

/// A run, or a dry run, of a file.
struct Job<'a> {
    client: &'a BankClient,
    caller: Option<Caller>,
    info: ServerInfo,
    timeout: Duration,
    args: args::Apply,
    lines: Arc<Vec<Line>>,
    bar: ProgressBar,
}

impl Job<'_> {
    /// Carries out the lines that the results file does not have.
    async fn apply(&self, location: &Location) -> Result<Report, Failure> {
        let (mut disk, mut history) = ResultsFile::open(&location.path)?;
        let run = self.run_at(location);
        match &history.run {
            Some(recorded) => location.same_run(recorded, &run)?,
            None => history
                .append(&mut disk, vec![Record::Run(run)])
                .map_err(|error| results_file::not_opened(&location.path, &error))?,
        }
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(&stop).map_err(|error| {
            Failure::new(Exit::Failed, "INTERRUPT", format!("cannot handle Ctrl-C: {error}"))
        })?;
        let engine = Engine {
            bank: &Remote::new(self.client, &self.info, &self.bar, &stop),
            disk: &mut disk,
            history: &mut history,
            lines: &self.lines,
            batch: self.batch_size()?,
            atomic: self.args.atomic,
            caller: self.caller.clone(),
            window: self.window(),
            report: Report::default(),
        };
        engine.run(|history| self.plan(history)).await.map_err(|problems| problems.of(&self.args.file))
    }

    /// Checks the lines that the results file does not have.
    async fn check(&self, location: Option<&Location>) -> Result<Report, Failure> {
        let history = match location {
            None => History::default(),
            Some(location) => {
                let history = ResultsFile::read(&location.path)?;
                if let Some(recorded) = &history.run {
                    location.same_run(recorded, &self.run_at(location))?;
                }
                history
            }
        };
        let steps = self.plan(&history).map_err(|problems| problems.of(&self.args.file))?;
        let never = AtomicBool::new(false);
        let remote = &Remote::new(self.client, &self.info, &self.bar, &never);
        if let Some(other) = self.window().other_caller(&steps, self.caller.as_ref(), remote.now()) {
            return Ok(Report { stop: Some(Stop::OtherCaller(other)), ..Report::begin(&steps) });
        }
        let (size, atomic) = (self.batch_size()?, self.args.atomic);
        Ok(DryRun { client: self.client, remote, lines: &self.lines, size, atomic }.run(steps).await)
    }

    fn window(&self) -> Window {
        let limits = &self.info.limits;
        Window {
            retention: limits.request_retention,
            margin: SLACK + OVERLOADED_MAX + self.timeout,
            in_flight_max: limits.request_timeout_max + limits.outcome_timeout + SLACK,
        }
    }

    fn run_at(&self, location: &Location) -> Run {
        Run::new(self.args.name.clone(), location.input.clone(), self.info.store.bank_id.clone())
    }

    fn plan(&self, history: &History) -> Result<Vec<plan::Step>, Problems> {
        let options = Options {
            name: self.args.name.as_deref().unwrap_or_default(),
            retry_rejected: self.args.retry_rejected,
            atomic: self.args.atomic.then_some(self.args.batch),
        };
        plan::plan(&self.lines, history, options)
    }

    fn batch_size(&self) -> Result<BatchSize, Failure> {
        let limits = &self.info.limits;
        let batch = ("server.batch_operations_max", limits.batch_operations_max);
        let burst = limits.calls_burst_max.map(|max| ("callers.calls_burst_max", max));
        let (setting, max) = burst.filter(|burst| burst.1 < batch.1).unwrap_or(batch);
        let (lines, max) = (self.args.batch as u64, max.max(1));
        if self.args.atomic && lines > max {
            return Err(Failure::batch_too_large(lines, setting, max));
        }
        let bytes = limits.batch_bytes_max / BATCH_SHARE.1 * BATCH_SHARE.0;
        let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(BatchSize { lines: count(lines.min(max)), bytes: count(bytes) })
    }

    fn notes(&self, report: &Report) -> Vec<String> {
        let mut notes = Vec::new();
        let is_given = |line: &Line| matches!(line.identity, Identity::Given { .. });
        if report.removed_applied > 0 {
            let removed = summary::count(report.removed_applied);
            notes.push(format!("{removed} applied by an earlier run, and no longer in the file"));
        }
        let already_applied = |&outcome: &Outcome| outcome == Outcome::AlreadyApplied;
        if !self.lines.is_empty() && report.outcomes.iter().all(already_applied) {
            let need =
                if self.lines.iter().all(is_given) { "request ids of their own" } else { "another --name" };
            notes.push(format!("every line was applied before; identical new payments need {need}"));
        }
        if self.args.validate_only {
            if self.lines.iter().any(is_given) {
                notes.push("a request_id that was used outside of this run counts as unused".to_owned());
            }
            notes.push("dry run: nothing was changed".to_owned());
        }
        notes
    }
}

/// Reads the file, and makes sure that every line gets a request id.
fn read(args: &args::Apply) -> Result<Vec<Line>, Failure> {
    let contents = contents(&args.file)?;
    let lines = lines::read(&contents, args.currency).map_err(|problems| problems.of(&args.file))?;
    let unnamed = lines.iter().find(|line| matches!(line.identity, Identity::Derived { .. }));
    match unnamed {
        Some(Line { number, .. }) if args.name.is_none() => {
            let message = format!("the run has no name, and line {number} has no request_id");
            Err(Failure::new(Exit::Usage, "UNNAMED", message).with_hint(
                "add --name, such as --name payroll-2026-05: the same for every attempt, another for other payments",
            ))
        }
        _ => Ok(lines),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| Failure::unreadable(path, &error);
    let file: Box<dyn Read> = if path == Path::new(STANDARD) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut contents = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() > FILE_BYTES_MAX {
        return Err(Failure::file(path, format_args!("has more than {FILE_BYTES_MAX} bytes; split it")));
    }
    Ok(contents)
}

/// Sets `stop` on SIGINT and SIGTERM, so that the run ends after the current batch. A second signal ends the process.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> io::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + SignalKind::interrupt().as_raw_value());
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
