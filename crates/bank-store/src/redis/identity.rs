//! Which bank a Redis holds, and whether this server may use it.

use std::collections::HashMap;

use super::{
    connection::{Connection, command},
    fitness::shortfall,
    inspection::{inspect, require_supported},
    keys::{IMPORT_MARK, Keys},
    options::RedisOptions,
    reply,
};
use crate::{StoreError, clock::ClockOff, identity::Identity};

/// The layout of keys and fields that this version reads and writes.
const LAYOUT: &str = "3";

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
    let meta = keys.meta();
    let found = fields(connection, &meta).await?;
    let found_id = bank_id(&found);
    if let Some(wanted) = options.bank_id.as_deref().filter(|wanted| found_id != Some(wanted)) {
        let found = found_id.map_or_else(|| "no bank".to_owned(), |found| format!("the bank {found}"));
        return Err(StoreError::Misconfigured(format!(
            "Redis at {address} holds {found}, but store.redis.bank_id = \"{wanted}\"; restore the data of that bank, \
             or clear store.redis.bank_id to initialize or use another"
        )));
    }
    if found_id.is_none() {
        require_no_accounts(connection, keys).await?;
    }

    let new = Identity::try_new(options.partitions, options.request_retention)?;
    // Servers that start at once agree: the first one to set a field wins.
    let fields_of_new = new.fields(LAYOUT);
    let writes = fields_of_new.iter().map(|(field, value)| command("HSETNX", [meta.as_str(), field, value]));
    connection.send_all(writes.collect()).await?;

    let found = fields(connection, &meta).await?;
    let place = format!("Redis at {address}");
    let identity = Identity::read(&place, LAYOUT, &new, |name| match name {
        "bank_id" => bank_id(&found).map(str::to_owned),
        name => found.get(name).cloned(),
    })?;
    identity.require_suitable(&place, &new)?;
    if identity.bank_id == new.bank_id {
        tracing::info!(bank_id = identity.bank_id, redis = address, "initialized a new bank");
    }
    Ok(identity)
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
