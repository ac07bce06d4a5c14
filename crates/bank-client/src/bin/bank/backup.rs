//! `bank export` and `bank import`: a bank as a file, with a bar while it runs.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bank_client::{
    BackupCounts, BankClient, Error, ExportNews, ExportSummary, ImportNews, TryStreamExt as _,
};
use futures::stream::{self, Stream};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::spawn_blocking;

use crate::{
    args,
    failure::{Failure, Unusable},
    json::Imported,
    output::Output,
    table,
};

/// How often the bar moves while nothing is told.
const TICK: Duration = Duration::from_millis(100);
/// How much of a file is read at a time, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// Nobody but its owner reads a file with everybody's money.
const FILE_MODE: u32 = 0o600;
/// The name of standard output and standard input.
const STANDARD: &str = "-";

pub(crate) async fn export(
    client: &BankClient,
    args: args::Export,
    output: &mut Output,
) -> Result<(), Failure> {
    let is_standard = args.file == Path::new(STANDARD);
    let bar = bar("{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}");
    let written = if is_standard {
        write(client, &bar, |data| Ok(output.bytes(data)?)).await
    } else {
        write_file(client, &bar, &args.file).await
    };
    bar.finish_and_clear();
    let summary = written?;
    if is_standard {
        output.note(&table::counts("exported", &summary.counts));
    } else {
        output.result(&summary, &table::counts("Exported", &summary.counts))?;
    }
    if !summary.of_one_instant {
        output.note(
            "accounts have changed meanwhile: each is as it was at some instant, and a transfer may be there with \
             one side only; export again while nothing changes, for a copy of one instant",
        );
    }
    Ok(())
}

/// Writes a file beside its place, and puts it there once it is whole and on the disk.
async fn write_file(client: &BankClient, bar: &ProgressBar, path: &Path) -> Result<ExportSummary, Failure> {
    if path.try_exists().map_err(|error| Unusable::Unwritable(error).of(path))? {
        return Err(Unusable::Exists.of(path));
    }
    let unfinished = unfinished(path);
    let written = write_to(client, bar, &unfinished).await.and_then(|summary| {
        fs::rename(&unfinished, path).map_err(|error| Unusable::Unwritable(error).of(path))?;
        Ok(summary)
    });
    if written.is_err() {
        // An error means that it was never made.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

async fn write_to(client: &BankClient, bar: &ProgressBar, path: &Path) -> Result<ExportSummary, Failure> {
    let unwritable = |error| Unusable::Unwritable(error).of(path);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path);
    let mut file = opened.map_err(unwritable)?;
    let summary = write(client, bar, |data| file.write_all(data).map_err(unwritable)).await?;
    file.sync_all().map_err(unwritable)?;
    Ok(summary)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".unfinished");
    name.into()
}

/// Writes all of a bank somewhere.
async fn write(
    client: &BankClient,
    bar: &ProgressBar,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<ExportSummary, Failure> {
    let mut news = client.export_bank();
    while let Some(news) = news.try_next().await? {
        match news {
            ExportNews::Data(data) => write(&data)?,
            ExportNews::Progress(progress) => {
                if let Some(total) = progress.accounts_total {
                    bar.set_length(total.max(progress.counts.accounts));
                }
                bar.set_position(progress.counts.accounts);
                bar.set_message(progress.counts.entries.to_string());
            }
            ExportNews::Summary(summary) => return Ok(summary),
            // From a newer server.
            _ => {}
        }
    }
    Err(Failure::Bank(Error::InvalidReply { problem: "the export has no summary".to_owned() }))
}

pub(crate) async fn import(
    client: &BankClient,
    args: args::Import,
    output: &mut Output,
) -> Result<(), Failure> {
    let path = &args.file;
    let unreadable = |error| Unusable::Unreadable(error).of(path);
    let (reader, length): (Box<dyn Read + Send>, _) = if path == Path::new(STANDARD) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        (Box::new(file), Some(length))
    };
    let bar = bar("{wide_bar} {binary_bytes}/{binary_total_bytes}, {msg} entries, {elapsed}");
    if let Some(length) = length {
        bar.set_length(length);
    }
    let failed = Arc::new(OnceLock::new());
    let imported = read(client, &bar, pieces(reader, Arc::clone(&failed))).await;
    bar.finish_and_clear();
    if let Some(error) = Arc::into_inner(failed).and_then(OnceLock::into_inner) {
        return Err(unreadable(error));
    }
    let counts = imported?;
    Ok(output.result(&Imported(counts), &table::counts("Imported", &counts))?)
}

/// The file piece by piece, up to its end or the first error.
fn pieces(
    reader: Box<dyn Read + Send>,
    failed: Arc<OnceLock<io::Error>>,
) -> impl Stream<Item = Vec<u8>> + Send + 'static {
    stream::unfold((reader, failed), |(mut reader, failed)| async move {
        let read = spawn_blocking(move || {
            let mut piece = vec![0; READ_BYTES];
            let read = reader.read(&mut piece);
            read.map(|length| {
                piece.truncate(length);
                (piece, reader)
            })
        });
        match read.await.map_err(io::Error::other).flatten() {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, reader)) => Some((piece, (reader, failed))),
            Err(error) => {
                // The bank finds the file cut, and refuses it; this is why.
                let _ = failed.set(error);
                None
            }
        }
    })
}

/// Fills a bank.
async fn read(
    client: &BankClient,
    bar: &ProgressBar,
    file: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<BackupCounts, Failure> {
    let mut news = client.import_bank(file);
    while let Some(news) = news.try_next().await.map_err(Failure::Import)? {
        match news {
            ImportNews::Progress(progress) => {
                bar.set_position(progress.bytes);
                bar.set_message(progress.counts.entries.to_string());
            }
            ImportNews::Summary(counts) => return Ok(counts),
            // From a newer server.
            _ => {}
        }
    }
    Err(Failure::Import(Error::InvalidReply { problem: "the import has no summary".to_owned() }))
}

/// It is drawn on a terminal only.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.enable_steady_tick(TICK);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
