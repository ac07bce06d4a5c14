//! Is this a Redis that can hold a bank, and is it ours?

use std::collections::HashMap;

use fred::{
    interfaces::{ClientLike as _, HashesInterface as _, KeysInterface as _},
    types::InfoKind,
};
use uuid::Uuid;

use super::{
    RedisOptions,
    backup::MARK,
    connection::Connection,
    fitness::Demand,
    guard::require_usable,
    inspection::{Info, inspect},
    keys::Keys,
};
use crate::{
    Secret, StoreError,
    clock::{ClockOff, Timekeeper},
};

/// The layout of keys and fields that this version reads and writes.
const LAYOUT: &str = "3";

/// How many windows of request records a commit looks at, at most.
const WINDOWS_MAX: u64 = 31;

/// What of a bank is fixed when it is founded.
#[derive(Clone, Debug)]
pub(super) struct Founded {
    pub(super) bank_id: String,
    pub(super) secret: Secret,
    /// How long its windows of request records are: as long as records were kept on that day.
    pub(super) request_window_seconds: u64,
}

/// Makes sure that Redis can hold the bank as it is asked to.
pub(super) async fn examine(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<(), StoreError> {
    require_supported(connection).await?;
    let mut inspection = inspect(connection, keys, options).await?;
    require_usable(&inspection).map_err(|reason| {
        StoreError::Unfit(format!("redis at {} cannot be used: {reason}", connection.address()))
    })?;
    require_same_time(connection, &options.clock)?;
    if options.entries_ahead_allowed && inspection.committed_at.is_some_and(|time| time > inspection.time) {
        let (committed_at, time) = (inspection.committed_at.take(), inspection.time);
        tracing::warn!(?committed_at, %time, "the clock of redis is taken to be right, as clock.entries_ahead_allowed says");
        let write = connection.client().hset::<(), _, _>(keys.meta(), ("committed_at", time.unix_ms()));
        connection.run(write).await?;
    }
    if let Some(shortfall) = Demand::of(options).shortfall(&inspection, false) {
        let text = format!("redis at {} is not fit for the bank: {shortfall}", connection.address());
        let is_final = !shortfall.may_pass;
        return Err(if is_final { StoreError::Misconfigured(text) } else { StoreError::Unfit(text) });
    }
    Ok(())
}

/// Asked on its own, since older ones do not understand all of an [`inspect`].
async fn require_supported(connection: &Connection) -> Result<(), StoreError> {
    let info: String = connection.run(connection.client().info(Some(InfoKind::Server))).await?;
    Info(info).require_supported(connection.address())
}

/// Founds the bank where there is none; else makes sure that it is laid out as this server expects.
pub(super) async fn found_or_join(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<Founded, StoreError> {
    let request_retention_seconds = options.request_retention_seconds();
    let client = connection.client();
    let meta = keys.meta();
    let found: HashMap<String, String> = connection.run(client.hgetall(&meta)).await?;
    require_wanted(connection, bank_id(&found), options)?;
    if bank_id(&found).is_none() {
        require_no_accounts(connection, keys).await?;
    }
    let new_id = Uuid::new_v4().to_string();
    let wanted = [
        ("bank_id", new_id.clone()),
        // A bank that was founded by a version that knew none gets one now.
        ("secret", Secret::draw().to_hex()),
        ("layout", LAYOUT.to_owned()),
        ("partitions", keys.partitions().to_string()),
        ("request_window_seconds", request_retention_seconds.to_string()),
    ];
    for (field, value) in &wanted {
        // Servers that start at once agree: the first one to set a field wins.
        connection.run(client.hsetnx::<(), _, _, _>(&meta, *field, value.as_str())).await?;
    }
    let found: HashMap<String, String> = connection.run(client.hgetall(&meta)).await?;
    let of = |field: &str| found.get(field).map_or("", String::as_str);
    if of("layout") != LAYOUT {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} has layout {:?}, this server reads {LAYOUT:?}; use the version of the \
             server that wrote it",
            connection.address(),
            of("layout"),
        )));
    }
    if of("partitions") != keys.partitions().to_string() {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} has {} partitions, store.partitions is {}; set it to what the \
             bank has",
            connection.address(),
            of("partitions"),
            keys.partitions(),
        )));
    }
    let malformed = |field| StoreError::Corrupt(format!("{meta}: field {field:?} is malformed"));
    let secret = Secret::from_hex(of("secret")).ok_or_else(|| malformed("secret"))?;
    let window_seconds = of("request_window_seconds").parse().ok().filter(|seconds| *seconds > 0);
    let Some(window_seconds) = window_seconds else {
        return Err(malformed("request_window_seconds"));
    };
    if request_retention_seconds / window_seconds > WINDOWS_MAX {
        return Err(StoreError::Misconfigured(format!(
            "the bank in redis at {} keeps request records in windows of {window_seconds} s, and every commit \
             looks at each; ledger.request_retention_seconds can be {} at most",
            connection.address(),
            window_seconds * WINDOWS_MAX,
        )));
    }
    if of("bank_id") == new_id {
        tracing::info!(
            bank_id = new_id,
            redis = connection.address(),
            "a new bank is founded: there was none"
        );
    }
    let bank_id = bank_id(&found).unwrap_or_default().to_owned();
    Ok(Founded { bank_id, secret, request_window_seconds: window_seconds })
}

/// The id of the bank, whether or not it is half of an import.
fn bank_id(meta: &HashMap<String, String>) -> Option<&str> {
    let found = meta.get("bank_id")?;
    let field = if found.starts_with(MARK) { "import_into" } else { "bank_id" };
    meta.get(field).map(String::as_str)
}

/// Refuses another bank than the one that is to be joined, if any is named.
fn require_wanted(
    connection: &Connection,
    found: Option<&str>,
    options: &RedisOptions,
) -> Result<(), StoreError> {
    let Some(wanted) = options.bank_id.as_deref().filter(|wanted| found != Some(wanted)) else {
        return Ok(());
    };
    let found = found.map_or_else(|| "no bank".to_owned(), |found| format!("the bank {found}"));
    Err(StoreError::Misconfigured(format!(
        "redis at {} holds {found}, and store.redis.bank_id = \"{wanted}\"; bring the data of that bank back, \
         or leave store.redis.bank_id empty to found or join another",
        connection.address(),
    )))
}

/// Refuses to found a bank over the accounts of one that has lost its identity.
async fn require_no_accounts(connection: &Connection, keys: &Keys) -> Result<(), StoreError> {
    let client = connection.client();
    let indexes: Vec<_> = (0..keys.partitions()).map(|partition| keys.accounts(partition)).collect();
    let count: u64 = connection.run(client.exists(indexes)).await?;
    // Another server may have founded it, and opened accounts, just now.
    if count == 0 || connection.run(client.hexists(keys.meta(), "bank_id")).await? {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "redis at {} holds accounts, but {}, which says what bank they are of, is gone; bring it back from a \
         backup, or delete what is left",
        connection.address(),
        keys.meta(),
    )))
}

/// Refuses to start with a clock that differs from that of Redis: entries carry the time of the server that wrote them.
fn require_same_time(connection: &Connection, clock: &Timekeeper) -> Result<(), StoreError> {
    let Err(ClockOff { offset_ms }) = clock.now() else { return Ok(()) };
    let direction = if offset_ms < 0 { "behind" } else { "ahead of" };
    Err(StoreError::Misconfigured(format!(
        "the clock of this machine is {} ms {direction} that of redis at {}; at most {} ms are allowed \
         (clock.offset_ms_max): set both by NTP",
        offset_ms.unsigned_abs(),
        connection.address(),
        clock.offset_max().as_millis(),
    )))
}
