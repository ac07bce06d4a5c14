//! Which bank a Redis holds, and whether this server may use it.

use std::collections::HashMap;

use fred::types::Value;

use super::{
    connection::{Connection, command},
    fitness::shortfall,
    inspection::{inspect, require_supported},
    keys::{HOME, IMPORT_MARK, Keys},
    options::RedisOptions,
    reply,
};
use crate::{StoreError, clock::ClockOff, identity::Identity, placement::PlacementRule};

/// The layout of keys and fields that this version reads and writes.
const LAYOUT: &str = "4";
/// The layouts that can be read.
const LAYOUTS: [(&str, PlacementRule); 1] = [(LAYOUT, PlacementRule::Route)];

/// The field that says that every partition has a copy of the identity, and its value then.
const COPIES: &str = "copies";
const COMPLETE: &str = "complete";

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
        let words = [keys.meta(HOME), "committed_at".to_owned(), time.unix_ms().to_string()];
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
///
/// The copy of the identity in [`HOME`] decides. It is written first, then the copies of the other partitions, and then that
/// they are complete: from then on, a partition without its copy has lost its data.
pub(super) async fn initialize_or_join(
    connection: &Connection,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<Identity, StoreError> {
    let address = connection.address();
    let home = keys.meta(HOME);
    let found = fields(connection, &home).await?;
    let found_id = bank_id(&found);
    if let Some(wanted) = options.bank_id.as_deref().filter(|wanted| found_id != Some(wanted)) {
        let found = bank(found_id);
        return Err(StoreError::Misconfigured(format!(
            "Redis at {address} holds {found}, but store.redis.bank_id = \"{wanted}\"; restore the data of that bank, \
             or clear store.redis.bank_id to initialize or use another"
        )));
    }
    if found_id.is_none() {
        require_nothing_left(connection, keys).await?;
    }

    let new = Identity::try_new(options.partitions, options.request_retention)?;
    // Servers that start at once agree: the first one to set a field wins.
    let new_fields = new.fields(LAYOUT);
    let writes = new_fields.iter().map(|(name, value)| command("HSETNX", [home.as_str(), name, value]));
    connection.send_all(writes.collect()).await?;

    let found = fields(connection, &home).await?;
    let place = format!("Redis at {address}");
    let identity = Identity::read(&place, &LAYOUTS, &new, |name| match name {
        "bank_id" => bank_id(&found).map(str::to_owned),
        name => found.get(name).cloned(),
    })?;
    identity.require_suitable(&place)?;
    let keys = keys.placed(identity.placement);
    if found.get(COPIES).is_none_or(|copies| copies != COMPLETE) {
        // A server of an earlier version finds this one, and refuses it.
        let words = [&*keys.former_meta(), "layout", LAYOUT, "bank_id", &identity.bank_id].map(str::to_owned);
        connection.send(command("HSET", words)).await?;
        let write = |partition| command("HSETNX", [&*keys.meta(partition), "bank_id", &identity.bank_id]);
        connection.send_many(keys.all_partitions().map(write).collect()).await?;
        connection.send(command("HSET", [home.as_str(), COPIES, COMPLETE])).await?;
    }
    require_copies(connection, &keys, &identity.bank_id).await?;
    if identity.bank_id == new.bank_id {
        tracing::info!(bank_id = identity.bank_id, redis = address, "initialized a new bank");
    }
    Ok(identity)
}

async fn fields(connection: &Connection, meta: &str) -> Result<HashMap<String, String>, StoreError> {
    let fields = connection.send(command("HGETALL", [meta])).await?;
    fields.convert().map_err(|_| reply::unexpected("the fields of a hash"))
}

/// A bank in a message.
fn bank(id: Option<&str>) -> String {
    id.map_or_else(|| "no bank".to_owned(), |id| format!("the bank {id}"))
}

/// The id of the bank, also during an import.
fn bank_id(meta: &HashMap<String, String>) -> Option<&str> {
    let import_into = meta.get("import_into").map(String::as_str);
    unmarked(meta.get("bank_id").map(String::as_str), import_into)
}

/// The id of the bank by the fields `bank_id` and `import_into`: an import puts its mark into the first.
fn unmarked<'a>(bank_id: Option<&'a str>, import_into: Option<&'a str>) -> Option<&'a str> {
    if bank_id?.starts_with(IMPORT_MARK) { import_into } else { bank_id }
}

/// Refuses a bank of which a partition has lost its data, or belongs to another bank.
async fn require_copies(connection: &Connection, keys: &Keys, bank_id: &str) -> Result<(), StoreError> {
    let reads = keys
        .all_partitions()
        .map(|partition| command("HMGET", [keys.meta(partition).as_str(), "bank_id", "import_into"]));
    for (partition, copy) in keys.all_partitions().zip(connection.send_many(reads.collect()).await?) {
        let [id, import_into] = reply::pair(copy)?.map(Value::into_string);
        let found = unmarked(id.as_deref(), import_into.as_deref());
        if found != Some(bank_id) {
            let found = bank(found);
            return Err(StoreError::Misconfigured(format!(
                "Redis at {} holds the bank {bank_id}, but {} names {found}; restore the data of the bank",
                connection.address(),
                keys.meta(partition),
            )));
        }
    }
    Ok(())
}

/// Refuses to initialize a bank over the data of one that has lost its identity, or beside one of an earlier version.
async fn require_nothing_left(connection: &Connection, keys: &Keys) -> Result<(), StoreError> {
    let (address, home, former) = (connection.address(), keys.meta(HOME), keys.former_meta());
    let layout = connection.send(command("HGET", [former.as_str(), "layout"])).await?.into_string();
    if let Some(layout) = layout.as_deref().filter(|layout| *layout != LAYOUT) {
        return Err(StoreError::Misconfigured(format!(
            "the bank in Redis at {address} ({former}) has layout {layout:?}, but this server needs {LAYOUT:?}: export it \
             with the version of the server that wrote it, and import it into an empty Redis, or under another \
             store.redis.key_prefix; docs/upgrade.md has the steps"
        )));
    }
    let indexes = keys.all_partitions().map(|partition| keys.accounts(partition));
    let count = connection.send(command("EXISTS", indexes.chain([former]))).await?;
    // Another server may have initialized the bank just now.
    if reply::integer(&count)? == 0
        || reply::integer(&connection.send(command("HEXISTS", [home.as_str(), "bank_id"])).await?)? == 1
    {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "Redis at {address} holds data of a bank, but {home}, which names it, is missing; restore it from a backup, or \
         delete what is left"
    )))
}
