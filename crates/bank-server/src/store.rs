//! Opens or checks the store.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use bank_domain::redacted;
use bank_store::{
    EmbeddedStore, MemoryStore, Placement, RedisStore, Store, StoreError,
    clock::Timekeeper,
    embedded::{CheckReport, EmbeddedOptions},
    redis::RedisOptions,
};

/// A store, and how to open it.
pub enum StoreOptions {
    /// A file.
    Embedded(EmbeddedOptions),
    /// The memory of this process.
    Memory {
        /// How long outcomes of requests are kept.
        request_retention: Duration,
        /// How many partitions the accounts are divided into.
        partitions: u32,
        /// The clock of the bank.
        clock: Timekeeper,
    },
    /// Redis or Valkey.
    Redis(RedisOptions),
}

/// Opens the store, and initializes a bank if it is empty.
///
/// # Errors
/// What went wrong, and what to do about it.
pub async fn open(options: StoreOptions) -> anyhow::Result<Arc<dyn Store>> {
    match options {
        StoreOptions::Embedded(options) => {
            let path = redacted(&options.path.to_string_lossy());
            tracing::info!(path, "opening the file of the bank");
            Ok(Arc::new(EmbeddedStore::open(options).await.context("cannot keep the bank in this file")?))
        }
        StoreOptions::Memory { request_retention, partitions, clock } => {
            let store = MemoryStore::new(request_retention).with_clock(clock);
            Ok(Arc::new(store.with_placement(Placement::try_new(partitions)?)))
        }
        StoreOptions::Redis(options) => {
            let within_ms = u64::try_from(options.connect_timeout.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(url = %options.url, within_ms, "connecting to redis");
            match RedisStore::connect(&options).await {
                Ok(store) => Ok(Arc::new(store)),
                Err(error @ StoreError::Unavailable(_)) => Err(anyhow!(
                    "{error}; start Redis there, set its address with --redis-url (store.redis.url), or keep \
                     the bank in a file: --store embedded",
                )),
                Err(error) => Err(error).context("cannot keep the bank in this Redis"),
            }
        }
    }
}

/// Reads the whole file of the embedded store. Returns a report, and whether nothing is wrong.
///
/// # Errors
/// If the file cannot be read at all, or the store is another.
pub async fn check(options: StoreOptions) -> anyhow::Result<(String, bool)> {
    let StoreOptions::Embedded(options) = options else {
        return Err(anyhow!("only the embedded store can be checked: name its file with --data"));
    };
    let path = options.path.display().to_string();
    let checked = EmbeddedStore::check(options).await.with_context(|| format!("cannot check {path}"))?;
    let CheckReport { accounts, entries, request_records, problems, problem_count } = checked;
    let mut lines = vec![format!(
        "{accounts} accounts with {entries} entries, and {request_records} records of requests, can be read"
    )];
    lines.extend(problems);
    lines.push(match problem_count {
        0 => "everything is in order".to_owned(),
        count => format!("{count} problems were found; restore the bank from a backup"),
    });
    let report: Vec<_> = lines.iter().map(|line| format!("{path}: {line}\n")).collect();
    Ok((report.concat(), problem_count == 0))
}
