//! `bank export` and `bank import`.

use std::{
    future::ready,
    path::Path,
    sync::{Arc, OnceLock},
};

use bank_client::{BankClient, ExportNews, ImportNews, StreamExt as _, TryStreamExt as _, json::Json as _};
use tokio::{
    fs::File,
    io::{self, AsyncRead},
};
use tokio_util::io::ReaderStream;

use crate::{failure::Failure, files, output::Output, progress, table};

/// How much of a file is read at a time.
const READ_BYTES: usize = 256 * 1024;
/// The name of standard output and standard input.
const STANDARD: &str = "-";

pub(crate) async fn export(client: &BankClient, path: &Path, output: &mut Output) -> Result<(), Failure> {
    let mut file = match path {
        path if path == Path::new(STANDARD) => None,
        path => Some(files::Unfinished::create(path)?),
    };
    let bar = &progress::bar(None, "{wide_bar} {human_pos}/{human_len} accounts, {msg} entries, {elapsed}");
    let summary = progress::follow(bar, client.export_bank().map_err(Failure::from), |news| {
        match (news, &mut file) {
            (ExportNews::Data(data), Some(file)) => file.write(&data)?,
            (ExportNews::Data(data), None) => {
                output.bytes(&data);
                output.ensure_written()?;
            }
            (ExportNews::Progress(progress), _) => {
                if let Some(total) = progress.accounts_total {
                    bar.set_length(total.max(progress.accounts));
                }
                bar.set_position(progress.accounts);
                bar.set_message(progress.entries.to_string());
            }
            (ExportNews::Summary(summary), _) => return Ok(Some(summary)),
            // From a newer server.
            _ => {}
        }
        Ok(None)
    });
    let summary = summary.await?;
    let counts = |done| table::counts(done, summary.accounts, summary.entries, summary.requests);
    match file {
        Some(file) => {
            file.finish()?;
            output.result(summary.json(), counts("Exported"));
        }
        None => output.note(&counts("exported").to_string()),
    }
    if !summary.of_one_instant {
        output.note(
            "accounts changed during the export: each is as it was when it was read, and a transfer may be there \
             with one side only; for a copy of one instant, export again while nothing changes",
        );
    }
    Ok(())
}

pub(crate) async fn import(client: &BankClient, path: &Path, output: &mut Output) -> Result<(), Failure> {
    let unreadable = |error| Failure::unreadable(path, &error);
    let (reader, length): (Box<dyn AsyncRead + Send + Unpin>, _) = if path == Path::new(STANDARD) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).await.map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        (Box::new(file), Some(length))
    };
    // The bank rejects the file that an error truncates; the error is the cause.
    let failed = Arc::new(OnceLock::new());
    let pieces = ReaderStream::with_capacity(reader, READ_BYTES)
        .scan(Arc::clone(&failed), |failed, piece| {
            ready(piece.map(Vec::from).map_err(|error| failed.set(error)).ok())
        });
    let bar =
        &progress::bar(length, "{wide_bar} {binary_bytes}/{binary_total_bytes}, {msg} entries, {elapsed}");
    let summary = progress::follow(bar, client.import_bank(pieces).map_err(Failure::import), |news| {
        match news {
            ImportNews::Progress(progress) => {
                bar.set_position(progress.bytes);
                bar.set_message(progress.entries.to_string());
            }
            ImportNews::Summary(summary) => return Ok(Some(summary)),
            // From a newer server.
            _ => {}
        }
        Ok(None)
    });
    let summary = summary.await;
    if let Some(error) = Arc::into_inner(failed).and_then(OnceLock::into_inner) {
        return Err(unreadable(error));
    }
    let summary = summary?;
    let counts = table::counts("Imported", summary.accounts, summary.entries, summary.requests);
    output.result(summary.json(), counts);
    Ok(())
}
