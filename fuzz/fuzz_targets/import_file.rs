//! Files of `bank export`, without their first and last line: these are added, so that counts and checksum are right.
//!
//! A line that is read is written as it was, byte for byte. A file that is imported is exported as it was.

#![no_main]

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bank_server::backup::{self, ExportNews, line::Line};
use bank_store::{MemoryStore, RequestKey, RequestRecord, Store as _};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Builder, sync::mpsc};

/// More than any run lasts: no request record is too old.
const RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

fuzz_target!(|data: &[u8]| {
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if let Ok(read) = Line::from_bytes(line) {
            assert_eq!(read.to_bytes(), line);
            if let Line::Request(request) = read
                && let Ok(record) = <(RequestKey, RequestRecord)>::try_from((*request).clone())
            {
                assert_eq!(backup::line::Request::from(record), *request);
            }
        }
    }
    let file = whole(data);
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    if let Some(exported) = runtime.block_on(import_and_export(&file)) {
        assert!(
            exported == file,
            "{}\nbecame\n{}",
            String::from_utf8_lossy(&file),
            String::from_utf8_lossy(&exported)
        );
    }
});

/// The file with these lines.
fn whole(lines: &[u8]) -> Vec<u8> {
    let mut file = b"{\"backup\":{\"version\":1,\"partitions\":256}}\n".to_vec();
    file.extend(lines);
    if !file.ends_with(b"\n") {
        file.push(b'\n');
    }
    let [accounts, entries, requests] = ["{\"account\":", "{\"entry\":", "{\"request\":"].map(|start| {
        file.split(|byte| *byte == b'\n').filter(|line| line.starts_with(start.as_bytes())).count()
    });
    let digest = Sha256::digest(&file).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let end = format!(
        "{{\"end\":{{\"accounts\":{accounts},\"entries\":{entries},\"requests\":{requests},\"sha256\":\"{digest}\"}}}}\n"
    );
    file.extend(end.as_bytes());
    file
}

async fn import_and_export(file: &[u8]) -> Option<Vec<u8>> {
    let store = Arc::new(MemoryStore::new(RETENTION));
    let (sender, data) = mpsc::channel(1);
    sender.send(file.to_vec()).await.expect("room for one");
    drop(sender);
    let (news, mut progress) = mpsc::channel(16);
    let watching = tokio::spawn(async move { while progress.recv().await.is_some() {} });
    let imported = backup::import(store.clone(), data, news).await;
    watching.await.expect("no panic");
    if let Err(error) = imported {
        assert!(matches!(error, backup::Error::Damaged { line, .. } if line > 0), "{error}");
        assert_eq!(store.account_count().await, Ok(Some(0)), "a rejected file leaves an empty bank");
        return None;
    }
    let (news, mut pieces) = mpsc::channel(16);
    let exporting = tokio::spawn(backup::export(store, news));
    let mut exported = Vec::new();
    while let Some(piece) = pieces.recv().await {
        if let ExportNews::Data(piece) = piece {
            exported.extend(piece);
        }
    }
    exporting.await.expect("no panic").expect("what was imported can be exported");
    Some(exported)
}
