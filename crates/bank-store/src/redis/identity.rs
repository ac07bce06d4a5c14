//! Which bank a Redis holds, and whether this server may use it.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    connection::{Connection, command},
    fitness::shortfall,
    inspection::{inspect, require_supported},
    keys::{IMPORT_MARK, Keys},
    options::RedisOptions,
    reply,
};
use crate::{Secret, StoreError, clock::ClockOff};

/// The layout of keys and fields that this version reads and writes.
const LAYOUT: &str = "3";

/// The most windows of request records that a commit looks at.
const WINDOWS_MAX: u64 = 31;

/// What is fixed when a bank is initialized.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) bank_id: String,
    pub(super) secret: Secret,
    /// The length of a window of request records: the retention on that day.
    pub(super) request_window_seconds: u64,
}

/// Makes sure that Redis meets the requirements, and that its clock agrees with ours.
pub(super) async fn require_fit(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<(), StoreError> {
    let address = connection.address();
    require_supported(connection).await?;
    let mut inspection = inspect(connection, keys, options).await?;
    inspection
        .require_usable()
        .map_err(|reason| StoreError::Unfit(format!("Redis at {address} cannot be used: {reason}")))?;
    // Entries carry the time of the server that wrote them.
    if let Err(ClockOff { offset_ms }) = options.clock.now() {
        let direction = if offset_ms < 0 { "behind" } else { "ahead of" };
        return Err(StoreError::Misconfigured(format!(
            "the clock of this machine is {} ms {direction} that of Redis at {address}; at most {} ms are allowed \
             (clock.offset_ms_max): synchronize both with NTP",
            offset_ms.unsigned_abs(),
            options.clock.offset_max().as_millis(),
        )));
    }
    let time = inspection.time;
    if options.entries_ahead_allowed
        && let Some(committed_at) = inspection.committed_at.take_if(|committed_at| *committed_at > time)
    {
        tracing::warn!(
            %committed_at,
            %time,
            "the newest commit is in the future; the clock of Redis is trusted, as clock.entries_ahead_allowed = true"
        );
        let words = [keys.meta(), "committed_at".to_owned(), time.unix_ms().to_string()];
        connection.send(command("HSET", words)).await?;
    }
    match shortfall(options, &inspection, false) {
        None => Ok(()),
        Some(shortfall) => {
            let text = format!("Redis at {address} does not meet the requirements: {shortfall}");
            Err(if shortfall.may_pass { StoreError::Unfit(text) } else { StoreError::Misconfigured(text) })
        }
    }
}

/// Initializes a bank if there is none; otherwise makes sure that this server can use it.
pub(super) async fn initialize_or_join(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<Identity, StoreError> {
    let address = connection.address();
    let refuse = |why: String| Err(StoreError::Misconfigured(why));
    let meta = keys.meta();
    let found = fields(connection, &meta).await?;
    let found_id = bank_id(&found);
    if let Some(wanted) = options.bank_id.as_deref().filter(|wanted| found_id != Some(wanted)) {
        let found = found_id.map_or_else(|| "no bank".to_owned(), |found| format!("the bank {found}"));
        return refuse(format!(
            "Redis at {address} holds {found}, but store.redis.bank_id = \"{wanted}\"; restore the data of that bank, \
             or clear store.redis.bank_id to initialize or use another"
        ));
    }
    if found_id.is_none() {
        require_no_accounts(connection, keys).await?;
    }

    let new_id = Uuid::new_v4().to_string();
    let retention_seconds = options.request_retention_seconds();
    let initial = [
        ("bank_id", new_id.clone()),
        // A bank that was initialized by a version without secrets gets one now.
        ("secret", Secret::draw().to_hex()),
        ("layout", LAYOUT.to_owned()),
        ("partitions", options.partitions.to_string()),
        ("request_window_seconds", retention_seconds.to_string()),
    ];
    // Servers that start at once agree: the first one to set a field wins.
    let writes = initial.iter().map(|(field, value)| command("HSETNX", [meta.as_str(), field, value]));
    connection.send_all(writes.collect()).await?;

    let found = fields(connection, &meta).await?;
    let field = |name: &str| found.get(name).map_or("", String::as_str);
    let malformed = |field| StoreError::Corrupt(format!("{meta}: field {field:?} is malformed"));
    if field("layout") != LAYOUT {
        return refuse(format!(
            "the bank in Redis at {address} has layout {:?}, but this server needs {LAYOUT:?}; use the version of the \
             server that wrote it",
            field("layout"),
        ));
    }
    if field("partitions") != options.partitions.to_string() {
        return refuse(format!(
            "the bank in Redis at {address} has {} partitions, but store.partitions = {}; set it to what the bank has",
            field("partitions"),
            options.partitions,
        ));
    }
    let secret = Secret::from_hex(field("secret")).ok_or_else(|| malformed("secret"))?;
    let window_seconds = field("request_window_seconds").parse().ok().filter(|seconds| *seconds > 0);
    let request_window_seconds: u64 = window_seconds.ok_or_else(|| malformed("request_window_seconds"))?;
    if retention_seconds / request_window_seconds > WINDOWS_MAX {
        return refuse(format!(
            "the bank in Redis at {address} keeps request records in windows of {request_window_seconds} s, and every \
             commit looks at each; ledger.request_retention_seconds = {retention_seconds}, but can be {} at most",
            request_window_seconds * WINDOWS_MAX,
        ));
    }
    let bank_id = bank_id(&found).unwrap_or_default().to_owned();
    if bank_id == new_id {
        tracing::info!(bank_id, redis = address, "initialized a new bank");
    }
    Ok(Identity { bank_id, secret, request_window_seconds })
}

async fn fields(connection: &Connection, meta: &str) -> Result<HashMap<String, String>, StoreError> {
    let fields = connection.send(command("HGETALL", [meta])).await?;
    fields.convert().map_err(|_| reply::unexpected("the fields of a hash"))
}

/// The id of the bank, also during an import.
fn bank_id(meta: &HashMap<String, String>) -> Option<&str> {
    let is_marked = meta.get("bank_id")?.starts_with(IMPORT_MARK);
    meta.get(if is_marked { "import_into" } else { "bank_id" }).map(String::as_str)
}

/// Refuses to initialize a bank over the accounts of one that has lost its identity.
async fn require_no_accounts(connection: &Connection, keys: &Keys) -> Result<(), StoreError> {
    let meta = keys.meta();
    let count = connection.send(command("EXISTS", keys.all_accounts())).await?;
    // Another server may have initialized it, and opened accounts, just now.
    if reply::integer(&count)? == 0
        || reply::integer(&connection.send(command("HEXISTS", [meta.as_str(), "bank_id"])).await?)? == 1
    {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "Redis at {} holds accounts, but {meta}, which names their bank, is missing; restore it from a backup, or \
         delete what is left",
        connection.address(),
    )))
}
