//! `bank apply`: the operations of a file, each exactly once, however often the file is edited and the command is run.
//!
//! ```text
//! input        bytes -> rows of columns                     CSV, JSON lines; what is wrong with the first line
//! instruction  row -> what a line asks for                  validated, one spelling
//! lines        all lines, with what tells them apart        request ids
//! journal      the results file                             what was sent, what became of it
//! plan         lines + results file -> what to do           pure
//! engine       carries out the plan                         against a bank and a disk that tests can break
//! remote       the bank at the other end                    gRPC
//! report       what it has come to                          numbers, exit code, how to continue
//! ```

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
mod row;

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
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    engine::{Bank as _, Engine, Report, Window, sent_by_another},
    input::FILE_BYTES_MAX,
    journal::{Caller, History, Place, Record, ResultsFile, Run},
    lines::{Identity, Line},
    plan::{BatchSize, Options},
    remote::{OVERLOADED_MAX, Remote},
};
pub(crate) use self::{input::Problem, journal::Unavailable, lines::Problems, report::Tally};
use crate::{
    args::{self, Global},
    connect,
    failure::{Failure, Unusable},
    output::Output,
    table,
};

/// How far the clocks of this machine and of servers may be apart, and how long a batch may take besides the time-outs.
const SLACK: Duration = Duration::from_mins(10);
/// How much of a message to the bank is operations.
const BATCH_SHARE: (u64, u64) = (9, 10);

pub(crate) async fn run(
    client: &BankClient,
    global: &Global,
    args: args::Apply,
    output: &mut Output,
) -> Result<(), Failure> {
    let lines = read(&args)?;
    let place = Place::of(&args.file, args.results.as_deref())?;
    let dry_run = args.validate_only;
    if place.is_none() && !dry_run {
        return Err(Failure::Incomplete { given: "standard input", missing: "--results" });
    }
    let path = place.as_ref().map(|place| place.path.clone());
    let info = client.server_info().await?;
    let job =
        Job { client, args, caller: connect::token(&global.credentials)?.as_deref().map(Caller::of), info };
    let bar = bar(lines.len());
    let run = async {
        Ok::<_, Failure>(match place {
            Some(place) if !dry_run => (job.apply(place, &lines, global.timeout, &bar).await?, lines),
            place => {
                let lines = Arc::new(lines);
                let report = job.check(place, &lines, global.timeout, &bar).await?;
                (report, Arc::unwrap_or_clone(lines))
            }
        })
    };
    let ran = run.await;
    bar.finish_and_clear();
    let (report, lines) = ran?;
    let tally = Tally::of(&report, dry_run);
    let verdict = report::verdict(report, &lines, path.as_deref(), dry_run);
    output.result(&tally, table::tally(&tally));
    if tally.removed > 0 {
        let removed = report::lines(tally.removed);
        output.note(&format!("{removed} applied by an earlier run, and no longer in the file"));
    }
    if tally.lines > 0 && tally.already_applied == tally.lines {
        let is_derived = |line: &Line| matches!(line.identity, Identity::Derived { .. });
        let need = if lines.iter().any(is_derived) { "another --name" } else { "request ids of their own" };
        output.note(&format!("every line was applied before; new payments that are the same need {need}"));
    }
    if dry_run {
        if lines.iter().any(|line| matches!(line.identity, Identity::Given { .. })) {
            output.note("request ids of lines that were used outside of this run count as unused");
        }
        output.note("nothing was changed");
    }
    verdict
}

/// What is to be done, for whom, and with which bank.
struct Job<'a> {
    client: &'a BankClient,
    args: args::Apply,
    caller: Option<Caller>,
    info: ServerInfo,
}

impl Job<'_> {
    /// Carries out the lines that the results file does not have.
    async fn apply(
        &self,
        place: Place,
        lines: &[Line],
        timeout: Duration,
        bar: &ProgressBar,
    ) -> Result<Report, Failure> {
        let unusable = |reason| Failure::Results { path: place.path.clone(), reason };
        let (mut disk, mut history) = ResultsFile::open(&place.path).map_err(unusable)?;
        let run = self.run_of(&place);
        match &history.run {
            Some(before) => same_run(before, &run).map_err(unusable)?,
            None => history
                .append(&mut disk, vec![Record::Run(run)])
                .map_err(|error| unusable(Unavailable::Io(error)))?,
        }
        let stop = Arc::new(AtomicBool::new(false));
        listen(&stop).map_err(Failure::Interrupt)?;
        let remote = Remote::new(self.client, &self.info, bar, &stop);
        let engine = Engine {
            bank: &remote,
            disk: &mut disk,
            history: &mut history,
            lines,
            batch: self.batch_size()?,
            atomic: self.args.atomic,
            caller: self.caller.clone(),
            window: self.window(timeout),
            report: Report::default(),
        };
        engine.run(|history| self.plan(lines, history)).await.map_err(|problems| self.malformed(problems))
    }

    /// Finds out what the lines would come to that the results file does not have.
    async fn check(
        &self,
        place: Option<Place>,
        lines: &Arc<Vec<Line>>,
        timeout: Duration,
        bar: &ProgressBar,
    ) -> Result<Report, Failure> {
        let history = match place {
            None => History::default(),
            Some(place) => {
                let unusable = |reason| Failure::Results { path: place.path.clone(), reason };
                let history = ResultsFile::look(&place.path).map_err(unusable)?;
                if let Some(before) = &history.run {
                    same_run(before, &self.run_of(&place)).map_err(unusable)?;
                }
                history
            }
        };
        let steps = self.plan(lines, &history).map_err(|problems| self.malformed(problems))?;
        let never = AtomicBool::new(false);
        let remote = Remote::new(self.client, &self.info, bar, &never);
        let stop = sent_by_another(&steps, self.caller.as_ref(), self.window(timeout), remote.now());
        if stop.is_some() {
            return Ok(Report { stop, ..Report::begin(&steps) });
        }
        let size = self.batch_size()?;
        Ok(dry_run::run(self.client, &remote, lines, steps, size, self.args.atomic).await)
    }

    fn window(&self, timeout: Duration) -> Window {
        let limits = &self.info.limits;
        Window {
            retention: limits.request_retention,
            margin: SLACK + OVERLOADED_MAX + timeout,
            in_flight_max: limits.request_timeout_max + limits.outcome_timeout + SLACK,
        }
    }

    fn run_of(&self, place: &Place) -> Run {
        Run::new(self.args.name.clone(), place.input.clone(), self.info.store.bank_id.clone())
    }

    fn plan(&self, lines: &[Line], history: &History) -> Result<Vec<plan::Step>, Problems> {
        let options = Options {
            name: self.args.name.as_deref().unwrap_or_default(),
            retry_rejected: self.args.retry_rejected,
            atomic: self.args.atomic.then_some(self.args.batch),
        };
        plan::plan(lines, history, options)
    }

    fn malformed(&self, problems: Problems) -> Failure {
        Failure::Lines { path: self.args.file.clone(), problems }
    }

    fn batch_size(&self) -> Result<BatchSize, Failure> {
        let (setting, max) = self.operations_max();
        let batch = self.args.batch as u64;
        if self.args.atomic && batch > max {
            return Err(Failure::BatchTooLarge { batch, setting, max });
        }
        let bytes = self.info.limits.batch_bytes_max / BATCH_SHARE.1 * BATCH_SHARE.0;
        Ok(BatchSize { lines: count(batch.min(max)), bytes: count(bytes) })
    }

    /// The most operations that the bank takes as one, and the setting that says so.
    fn operations_max(&self) -> (&'static str, u64) {
        let limits = &self.info.limits;
        let batch = ("server.batch_operations_max", limits.batch_operations_max);
        let burst = limits.calls_burst_max.map(|max| ("callers.calls_burst_max", max));
        let (setting, max) = burst.filter(|burst| burst.1 < batch.1).unwrap_or(batch);
        (setting, max.max(1))
    }
}

fn count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Reads the file, and makes sure that every line can have a request id.
fn read(args: &args::Apply) -> Result<Vec<Line>, Failure> {
    let contents = contents(&args.file)?;
    let lines = lines::read(&contents, args.currency)
        .map_err(|problems| Failure::Lines { path: args.file.clone(), problems })?;
    let unnamed = lines.iter().find(|line| matches!(line.identity, Identity::Derived { .. }));
    match unnamed {
        Some(line) if args.name.is_none() => Err(Failure::Unnamed { line: line.number }),
        _ => Ok(lines),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| Unusable::Unreadable(error).of(path);
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut contents = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() > FILE_BYTES_MAX {
        return Err(Unusable::TooLarge { bytes_max: FILE_BYTES_MAX }.of(path));
    }
    Ok(contents)
}

/// Whether a results file belongs to a run.
fn same_run(before: &Run, run: &Run) -> Result<(), Unavailable> {
    let named = |name: &Option<String>| match name {
        Some(name) => format!("the run {name}"),
        None => "a run without a name".to_owned(),
    };
    let (was, is) = if before.name != run.name {
        (named(&before.name), named(&run.name))
    } else if before.input != run.input {
        (format!("the file {}", before.input), run.input.clone())
    } else if before.bank_id != run.bank_id {
        (format!("the bank {}", before.bank_id), run.bank_id.clone())
    } else {
        return Ok(());
    };
    Err(Unavailable::OfAnother { was, is })
}

/// Makes a note of Ctrl-C and of being told to end: the run ends after the batch that is under way. The second time,
/// the process ends.
fn listen(stop: &Arc<AtomicBool>) -> io::Result<()> {
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

/// It is drawn on a terminal only.
fn bar(lines: usize) -> ProgressBar {
    let bar = ProgressBar::new(lines as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} lines, {per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    bar
}
