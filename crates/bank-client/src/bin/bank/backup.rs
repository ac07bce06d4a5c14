//! `bank export` and `bank import`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, OnceLock},
};

use bank_client::{
    BackupCounts, BankClient, Error, ExportNews, ExportSummary, ImportNews, TryStreamExt as _,
};
use futures::stream::{self, Stream};
use indicatif::ProgressBar;
use tokio::task::spawn_blocking;

use crate::{failure::Failure, files, json::Json as _, output::Output, progress, table};

/// How much of a file is read at a time.
const READ_BYTES: usize = 256 * 1024;
/// The name of standard output and standard input.
const STANDARD: &str = "-";

pub(crate) async fn export(client: &BankClient, path: &Path, output: &mut Output) -> Result<(), Failure> {
    let is_standard = path == Path::new(STANDARD);
    let bar = progress::bar(None, "{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}");
    let written = if is_standard {
        write(client, &bar, |data| {
            output.bytes(data);
            output.ensure_written()
        })
        .await
    } else {
        write_file(client, &bar, path).await
    };
    bar.finish_and_clear();
    let summary = written?;
    if is_standard {
        output.note(&table::counts("exported", &summary.counts).to_string());
    } else {
        output.result(summary.json(), table::counts("Exported", &summary.counts));
    }
    if !summary.of_one_instant {
        output.note(
            "accounts changed during the export: each is as it was when it was read, and a transfer may be there \
             with one side only; for a copy of one instant, export again while nothing changes",
        );
    }
    Ok(())
}

async fn write_file(client: &BankClient, bar: &ProgressBar, path: &Path) -> Result<ExportSummary, Failure> {
    let mut file = files::Unfinished::create(path)?;
    let summary = write(client, bar, |data| file.write(data)).await?;
    file.finish()?;
    Ok(summary)
}

/// Passes the contents of the export file to `write`, piece by piece.
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
    Err(Error::InvalidReply { problem: "the export has no summary".to_owned() }.into())
}

pub(crate) async fn import(client: &BankClient, path: &Path, output: &mut Output) -> Result<(), Failure> {
    let unreadable = |error| Failure::unreadable(path, &error);
    let (reader, length): (Box<dyn Read + Send>, _) = if path == Path::new(STANDARD) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        (Box::new(file), Some(length))
    };
    let bar =
        progress::bar(length, "{wide_bar} {binary_bytes}/{binary_total_bytes}, {msg} entries, {elapsed}");
    let failed = Arc::new(OnceLock::new());
    let imported = read(client, &bar, pieces(reader, Arc::clone(&failed))).await;
    bar.finish_and_clear();
    if let Some(error) = Arc::into_inner(failed).and_then(OnceLock::into_inner) {
        return Err(unreadable(error));
    }
    let counts = imported?;
    output.result(counts.json(), table::counts("Imported", &counts));
    Ok(())
}

/// The contents of a file piece by piece, up to its end or the first error.
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
                // The bank refuses the truncated file; this is the cause.
                let _ = failed.set(error);
                None
            }
        }
    })
}

async fn read(
    client: &BankClient,
    bar: &ProgressBar,
    file: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<BackupCounts, Failure> {
    let mut news = client.import_bank(file);
    while let Some(news) = news.try_next().await.map_err(Failure::import)? {
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
    Err(Failure::import(Error::InvalidReply { problem: "the import has no summary".to_owned() }))
}
