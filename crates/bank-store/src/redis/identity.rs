//! Which bank a Redis holds, and whether this server may use it.

use std::{collections::HashMap, sync::Arc};

use bank_domain::Timestamp;
use fred::types::Value;

use super::{
    connection::{Command, Connection, command},
    fitness::shortfall,
    inspection::{Inspection, REQUIRE_FULL_COVERAGE, inspect, require_supported},
    keys::{HOME, IMPORT_MARK, Keys},
    links::{Links, write_all},
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

/// Makes sure that each Redis meets the requirements, and that its clock agrees with ours.
pub(super) async fn require_fit(
    links: &Links,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<(), StoreError> {
    let home = keys.meta(HOME);
    let mut stops_together = false;
    for connection in links.all() {
        require_supported(connection).await?;
        let has_home = Arc::ptr_eq(links.of(&home)?, connection);
        let inspection = inspect(connection, has_home.then_some(&home), options).await?;
        require_met(connection, &home, inspection.clone(), options).await?;
        stops_together |= links.is_cluster() && inspection.setting(REQUIRE_FULL_COVERAGE) == Some("yes");
    }
    if stops_together {
        tracing::warn!(
            "{REQUIRE_FULL_COVERAGE} is yes: while one shard of the cluster has no primary, all others refuse commits and \
             reads too; set it to no on each node, so that they carry on"
        );
    }
    if links.is_cluster() && options.replicas == 0 {
        tracing::warn!(
            "store.redis.replicas is 0: every failover of the cluster loses the writes that were acknowledged just before \
             and had not reached the replica, however durable each node is"
        );
    }
    Ok(())
}

async fn require_met(
    connection: &Connection,
    home: &str,
    mut inspection: Inspection,
    options: &RedisOptions,
) -> Result<(), StoreError> {
    let address = connection.address();
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
        warn_of_commit_ahead(committed_at, time);
        connection.send(clock_is_right(home, time)).await?;
    }
    match shortfall(options, &inspection, false) {
        None => Ok(()),
        Some(shortfall) => {
            let text = format!("Redis at {address} does not meet the requirements: {shortfall}");
            Err(if shortfall.may_pass { StoreError::Unfit(text) } else { StoreError::Misconfigured(text) })
        }
    }
}

fn warn_of_commit_ahead(committed_at: Timestamp, time: Timestamp) {
    tracing::warn!(
        %committed_at,
        %time,
        "the newest commit is in the future; the clock of Redis is trusted, as clock.entries_ahead_allowed = true"
    );
}

/// Records that the newest commit was at this time.
fn clock_is_right(meta: &str, time: Timestamp) -> Command {
    command("HSET", [meta, "committed_at", &time.unix_ms().to_string()])
}

/// The same as for [`HOME`], for the other partitions of a cluster: a commit compares the time of its own.
async fn trust_clocks(links: &Links, keys: &Keys, time: Timestamp) -> Result<(), StoreError> {
    let found = links.read_each(keys, |it| command("HGET", [keys.meta(it).as_str(), "committed_at"])).await?;
    for (partition, committed_at) in keys.all_partitions().zip(found) {
        let committed_at = committed_at.as_str().and_then(|text| reply::unix_ms(&text));
        if let Some(committed_at) = committed_at.filter(|committed_at| *committed_at > time) {
            warn_of_commit_ahead(committed_at, time);
            let meta = keys.meta(partition);
            links.of(&meta)?.send(clock_is_right(&meta, time)).await?;
        }
    }
    Ok(())
}

/// Initializes a bank if there is none; otherwise makes sure that this server can use it.
///
/// The copy of the identity in [`HOME`] decides. It is written first, then the copies of the other partitions, and then that
/// they are complete: from then on, a partition without its copy has lost its data.
pub(super) async fn initialize_or_join(
    links: &Links,
    keys: &Keys,
    options: &RedisOptions,
) -> Result<Identity, StoreError> {
    let home = keys.meta(HOME);
    let connection = links.of(&home)?;
    let address = connection.address();
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
        require_nothing_left(links, keys).await?;
    }

    let new = Identity::try_new(options.partitions, options.request_retention)?;
    // Servers that start at once agree: the first one to set a field wins.
    let new_fields = new.fields(LAYOUT);
    let writes = new_fields.iter().map(|(name, value)| command("HSETNX", [home.as_str(), name, value]));
    write_all(connection, writes.collect()).await?;

    let found = fields(connection, &home).await?;
    let place = format!("Redis at {address}");
    let identity = Identity::read(&place, &LAYOUTS, &new, |name| match name {
        "bank_id" => bank_id(&found).map(str::to_owned),
        name => found.get(name).cloned(),
    })?;
    identity.require_suitable(&place)?;
    let keys = keys.placed(identity.placement);
    if found.get(COPIES).is_none_or(|copies| copies != COMPLETE) {
        if !links.is_cluster() {
            // A server of an earlier version finds this one, and refuses it. It refuses any cluster.
            let words = [&*keys.former_meta(), "layout", LAYOUT, "bank_id", &identity.bank_id];
            connection.send(command("HSET", words)).await?;
        }
        let id = identity.bank_id.as_str();
        links.write_each(&keys, |it| command("HSETNX", [&*keys.meta(it), "bank_id", id])).await?;
        write_all(connection, vec![command("HSET", [home.as_str(), COPIES, COMPLETE])]).await?;
    }
    require_copies(links, &keys, &identity.bank_id).await?;
    if links.is_cluster()
        && options.entries_ahead_allowed
        && let Ok(time) = options.clock.now()
    {
        trust_clocks(links, &keys, time).await?;
    }
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
async fn require_copies(links: &Links, keys: &Keys, bank_id: &str) -> Result<(), StoreError> {
    let read = |partition| command("HMGET", [keys.meta(partition).as_str(), "bank_id", "import_into"]);
    for (partition, copy) in keys.all_partitions().zip(links.read_each(keys, read).await?) {
        let [id, import_into] = reply::pair(copy)?.map(Value::into_string);
        let found = unmarked(id.as_deref(), import_into.as_deref());
        if found != Some(bank_id) {
            let found = bank(found);
            return Err(StoreError::Misconfigured(format!(
                "Redis at {} holds the bank {bank_id}, but {} names {found}; restore the data of the bank",
                links.of(&keys.meta(partition))?.address(),
                keys.meta(partition),
            )));
        }
    }
    Ok(())
}

/// Refuses to initialize a bank over the data of one that has lost its identity, or beside one of an earlier version.
async fn require_nothing_left(links: &Links, keys: &Keys) -> Result<(), StoreError> {
    let (home, former) = (keys.meta(HOME), keys.former_meta());
    let connection = links.of(&home)?;
    let address = connection.address();
    let layout = links.of(&former)?.send(command("HGET", [former.as_str(), "layout"])).await?.into_string();
    if let Some(layout) = layout.as_deref().filter(|layout| *layout != LAYOUT) {
        return Err(StoreError::Misconfigured(format!(
            "the bank in Redis at {address} ({former}) has layout {layout:?}, but this server needs {LAYOUT:?}: export it \
             with the version of the server that wrote it, and import it into an empty Redis, or under another \
             store.redis.key_prefix; docs/upgrade.md has the steps"
        )));
    }
    let mut left = reply::integer(&links.of(&former)?.send(command("EXISTS", [former])).await?)?;
    for exists in links.read_each(keys, |it| command("EXISTS", [keys.accounts(it)])).await? {
        left += reply::integer(&exists)?;
    }
    // Another server may have initialized the bank just now.
    if left == 0
        || reply::integer(&connection.send(command("HEXISTS", [home.as_str(), "bank_id"])).await?)? == 1
    {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "Redis at {address} holds data of a bank, but {home}, which names it, is missing; restore it from a backup, or \
         delete what is left"
    )))
}
