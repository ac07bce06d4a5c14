//! The store that the configuration names: opened, or checked.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bank_domain::redacted;
use bank_store::{
    EmbeddedStore, MemoryStore, RedisStore, Store, StoreError, clock::Timekeeper, embedded::CheckReport,
};

use crate::config::{Config, StoreKind};

/// Opens the store, and founds a bank where there is none.
///
/// # Errors
/// Whatever is in the way, with what to do about it.
pub async fn open(config: &Config, clock: Timekeeper) -> anyhow::Result<Arc<dyn Store>> {
    match config.store.kind {
        StoreKind::Embedded => {
            let options = config.embedded_options(clock);
            let path = redacted(&options.path.to_string_lossy());
            tracing::info!(path, "opening the file of the bank");
            Ok(Arc::new(EmbeddedStore::open(options).await.context("cannot keep the bank in this file")?))
        }
        StoreKind::Memory => {
            let store = MemoryStore::new(config.request_retention()).with_clock(clock);
            Ok(Arc::new(store.with_partitions(config.store.partitions)?))
        }
        StoreKind::Redis => {
            let options = config.redis_options(clock);
            let within_ms = config.store.redis.connect_timeout_ms;
            tracing::info!(url = %options.url, within_ms, "connecting to redis");
            match RedisStore::connect(&options).await {
                Ok(store) => Ok(Arc::new(store)),
                Err(error @ StoreError::Unavailable(_)) => Err(anyhow!(
                    "{error}; start Redis there, or say where it is with --redis-url (store.redis.url), or \
                     keep the bank in a file: --store embedded",
                )),
                Err(error) => Err(error).context("cannot keep the bank in this Redis"),
            }
        }
    }
}

/// Reads the whole file of the embedded store. Returns what is to be said of it, and whether it is in
/// order.
///
/// # Errors
/// If it cannot be read at all, or the store is another.
pub async fn check(config: &Config, clock: Timekeeper) -> anyhow::Result<(String, bool)> {
    if config.store.kind != StoreKind::Embedded {
        return Err(anyhow!("only the embedded store can be checked: say which file with --data"));
    }
    let options = config.embedded_options(clock);
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
