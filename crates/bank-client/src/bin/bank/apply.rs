//! `bank apply`: the operations of a file, batch after batch.
//!
//! A batch is sent when the one before it was answered, so that the lines take effect in their order. Every line
//! has a request id that is the same when the file is applied again; so a run that broke off is finished by
//! doing it again.

mod lines;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    path::Path,
    time::Duration,
};

use bank_client::{BankClient, Batch, Done, Error, Results};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use self::lines::{Line, Reader};
pub(crate) use self::lines::{Problem, Problems};
use crate::{
    args,
    connect::read,
    failure::{Failure, Unusable},
    json::{Json as _, LineResult},
    output::Output,
    table,
};

/// How long a bank may turn a batch away that has no room for it, before the run ends.
const OVERLOADED_MAX: Duration = Duration::from_mins(1);
/// The pause before it is sent again, where the bank names none.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of the lines of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    /// How many of both were carried out, or refused, by an earlier run.
    pub(crate) replayed: u64,
    /// Of these it is not known whether they were carried out.
    pub(crate) unknown: u64,
    /// These were not carried out, for now.
    pub(crate) put_off: u64,
    /// How many errors there were of each reason.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
}

pub(crate) async fn run(client: &BankClient, args: args::Apply, output: &mut Output) -> Result<(), Failure> {
    let contents = contents(&args.file)?;
    let reader = Reader { client, currency: args.currency, name: args.name.clone() };
    let lines =
        reader.read(&contents).map_err(|problems| Failure::Lines { path: args.file.clone(), problems })?;
    drop(contents);
    let mut results = args.results.as_deref().map(create).transpose()?;
    let unwritable = |error| {
        let path = args.results.as_deref().unwrap_or(Path::new(""));
        Unusable::Unwritable(error).of(path)
    };
    // It is drawn on a terminal only.
    let bar = ProgressBar::new(lines.len() as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} lines, {per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    let mut tally = Tally { lines: lines.len() as u64, ..Tally::default() };
    let mut ended = Ok(());
    for chunk in lines.chunks(args.batch) {
        match send(client, &args, chunk).await {
            Ok(answers) => {
                for (line, answer) in chunk.iter().zip(&answers) {
                    tally.add(answer);
                    if let Some(results) = &mut results {
                        write(results, line, answer).map_err(&unwritable)?;
                    }
                }
                if let Some(results) = &mut results {
                    results.flush().map_err(&unwritable)?;
                }
                bar.inc(chunk.len() as u64);
                if tally.unknown + tally.put_off > 0 {
                    break;
                }
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    tally.put_off += tally.lines - tally.done - tally.refused - tally.unknown - tally.put_off;
    output.result(&tally, table::tally(&tally));
    if tally.replayed > 0 {
        output.note("some were carried out, or refused, before, and were not done again");
    }
    if args.validate_only {
        output.note("only checked, nothing was changed");
    }
    ended?;
    tally.verdict()
}

/// Sends a batch, again and again while the bank has no room for it.
async fn send(client: &BankClient, args: &args::Apply, lines: &[Line]) -> Result<Results, Error> {
    let mut batch: Batch = client.batch().brief();
    if args.atomic {
        batch = batch.atomic();
    }
    if args.validate_only {
        batch = batch.validate_only();
    }
    let batch = lines.iter().fold(batch, |batch, line| batch.add(line.operation.clone()));
    let give_up_at = Instant::now() + OVERLOADED_MAX;
    loop {
        match batch.clone().send().await {
            Err(Error::Overloaded { retry_after, .. }) if Instant::now() < give_up_at => {
                sleep(retry_after.unwrap_or(PAUSE)).await;
            }
            answer => return answer,
        }
    }
}

impl Tally {
    fn add(&mut self, answer: &Result<Done, Error>) {
        match answer {
            Ok(done) => {
                self.done += 1;
                self.replayed += u64::from(done.replayed());
            }
            Err(error) => {
                *self.reasons.entry(error.reason()).or_default() += 1;
                self.replayed += u64::from(error.replayed());
                if error.outcome_unknown() {
                    self.unknown += 1;
                } else if error.is_retryable() {
                    self.put_off += 1;
                } else {
                    self.refused += 1;
                }
            }
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        let Self { refused, unknown, put_off, .. } = *self;
        if unknown + put_off > 0 {
            Err(Failure::Unfinished { unknown, put_off })
        } else if refused > 0 {
            Err(Failure::SomeRefused(refused))
        } else {
            Ok(())
        }
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut contents = Vec::new();
    io::stdin().read_to_end(&mut contents).map_err(|error| Unusable::Unreadable(error).of(path))?;
    Ok(contents)
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path).map(BufWriter::new).map_err(|error| Unusable::Unwritable(error).of(path))
}

fn write(results: &mut impl Write, line: &Line, answer: &Result<Done, Error>) -> io::Result<()> {
    let Line { number, request_id, .. } = line;
    let result = LineResult { line: *number, request_id: request_id.as_str(), answer };
    serde_json::to_writer(&mut *results, &result.json())?;
    writeln!(results)
}
