//! Request records in order, and imports.
//!
//! During an import `bank_id` is `import:<id>`, so whatever compares it refuses to work: every commit, every read
//! and every watchdog, of every server. The id of the bank is in another field meanwhile.

use std::{collections::BTreeMap, iter::once, ops::RangeInclusive};

use async_trait::async_trait;
use bank_domain::AccountId;
use fred::types::Value;

use super::{
    PARTITIONS_PER_READ, RedisStore, codec,
    connection::{Connection, command, trips},
    errors::reply_code,
    keys::{HOME, IMPORT_MARK},
    records, reply,
    script::clocks_apart,
};
use crate::{
    Backup, HistoryPart, ImportBatch, ImportId, ImportStart, RecordedOutcome, RequestKey, RequestRecord,
    RequestsQuery, Store as _, StoreError,
    backup::{RequestsPage, taken_over, without_entry},
};

const BEGIN: &str = include_str!("backup/begin.lua");
const WRITE: &str = include_str!("backup/write.lua");
const END: &str = include_str!("backup/end.lua");

/// About how many records a scan reads at a time from each hash.
const RECORDS_PER_SCAN: &str = "1000";
/// About how many keys a scan looks at at a time.
const KEYS_PER_SCAN: &str = "1000";
/// How many partitions are written to in one round trip.
const CALLS_PER_TRIP: usize = 64;

/// Commands for `write.lua`, by partition.
#[derive(Default)]
struct Batch(BTreeMap<u32, PartitionBatch>);

#[derive(Default)]
struct PartitionBatch {
    keys: Vec<String>,
    /// For each command the number of its words, its name, the number of its key, and its other words.
    words: Vec<Value>,
}

impl Batch {
    fn push<W: Into<Value>>(
        &mut self,
        partition: u32,
        name: &str,
        key: String,
        arguments: impl IntoIterator<Item = W>,
    ) {
        let PartitionBatch { keys, words } = self.0.entry(partition).or_default();
        // The commands of an account follow one another.
        if keys.last() != Some(&key) {
            keys.push(key);
        }
        let place = words.len();
        // The identity of the bank is the first key.
        let key_number = (keys.len() + 1).to_string();
        words.extend([Value::Null, name.into(), key_number.into()]);
        words.extend(arguments.into_iter().map(Into::into));
        words[place] = (words.len() - place - 1).to_string().into();
    }
}

fn mark(import: &ImportId) -> Value {
    Value::from(format!("{IMPORT_MARK}{import}"))
}

#[async_trait]
impl Backup for RedisStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        let partition = |id: &AccountId| self.keys.partition_of(id);
        let after = query.after.as_ref().map(|key| &key.account_id).or(query.after_account.as_ref());
        let first = after.map_or(0, partition);
        let placement = self.keys.placement();
        let last = query.through_account.as_ref().map_or(placement.partitions() - 1, partition);
        let windows = self.windows()?;

        let mut page = RequestsPage::new(query, placement);
        let mut next = first;
        while next <= last {
            let end = (next + PARTITIONS_PER_READ).min(last + 1);
            let hashes = (next..end).flat_map(|partition| {
                windows.clone().map(move |window| self.keys.requests(partition, window))
            });
            self.scan(hashes.collect(), &mut page).await?;
            next = end;
        }
        Ok(page.finish())
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        self.primary.guard().require(|shortfall| !shortfall.is_other_bank)?;
        let connection = self.primary.commits()?;
        let indexes = self.keys.all_partitions().map(|partition| self.keys.accounts(partition));
        let keys = self.identities().chain(indexes).collect();
        let arguments = vec![Value::from(self.bank_id()), mark(import)];
        let [answer] = reply::array(self.evaluate(&connection, BEGIN, vec![(keys, arguments)]).await?)?;
        if reply::integer(&answer)? == 0 {
            return Ok(ImportStart::NotEmpty);
        }
        // So that calls are refused from now on, not only once one of them has failed.
        self.primary.guard().check(&connection).await?;
        self.clear(&connection, import).await?;
        Ok(ImportStart::Started)
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let connection = self.primary.commits()?;
        let mut commands = Batch::default();
        for part in &batch.histories {
            self.push_history(part, &mut commands);
        }
        let windows = self.windows()?;
        for (key, record) in &batch.requests {
            let window = (record.recorded_at / self.script.retention.window_seconds).min(*windows.end());
            if window < *windows.start() {
                continue;
            }
            let partition = self.keys.partition_of(&key.account_id);
            let text = records::encode(record)?;
            let hash = self.keys.requests(partition, window);
            commands.push(partition, "HSET", hash, [records::field(key), text]);
            commands.push(partition, "SADD", self.keys.windows(partition), [window.to_string()]);
        }
        self.write(&connection, import, commands).await?;
        self.require_entries(&connection, &batch.requests).await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        let connection = self.primary.commits()?;
        let call = (self.identities().collect(), vec![mark(import)]);
        self.evaluate(&connection, END, vec![call]).await?;
        // Otherwise calls would be refused until the next tick of the watchdog.
        self.primary.guard().check(&connection).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        let connection = self.primary.commits()?;
        let finished =
            connection.send(command("HGET", [self.keys.meta(HOME).as_str(), "import_over"])).await?;
        if finished != mark(import) {
            self.clear(&connection, import).await?;
        }
        self.finish_import(import).await
    }
}

impl RedisStore {
    /// Offers all records of some hashes to a page, in whatever order Redis has them.
    async fn scan(&self, hashes: Vec<String>, page: &mut RequestsPage<'_>) -> Result<(), StoreError> {
        let mut cursors: Vec<_> = hashes.into_iter().map(|hash| (hash, "0".to_owned())).collect();
        while !cursors.is_empty() {
            let scans = cursors
                .iter()
                .map(|(hash, cursor)| command("HSCAN", [hash.as_str(), cursor, "COUNT", RECORDS_PER_SCAN]));
            let replies = self.primary.read(scans.collect()).await?;
            let mut unfinished = Vec::new();
            for ((hash, _), reply) in cursors.into_iter().zip(replies) {
                let [cursor, fields] = reply::pair(reply)?;
                for (field, record) in reply::fields(fields)? {
                    let record = String::from_utf8_lossy(&record);
                    page.offer(records::key(&field)?, |key| records::decode(key, &record))?;
                }
                let cursor = reply::text(cursor)?;
                if cursor != "0" {
                    unfinished.push((hash, cursor));
                }
            }
            cursors = unfinished;
        }
        Ok(())
    }

    /// Appends what writes entries of an account, and the account with its first entry.
    fn push_history(&self, part: &HistoryPart, commands: &mut Batch) {
        let HistoryPart { account, entries } = part;
        let partition = self.keys.partition_of(&account.id);
        for entry in entries {
            let (id, text) = (entry.id().to_string(), codec::EntryText(entry).to_string());
            let words = [id.as_str(), codec::ENTRY, &text, codec::HASH].map(Value::from);
            let words = words.into_iter().chain([Value::from(entry.hash.as_bytes().as_slice())]);
            commands.push(partition, "XADD", self.keys.entries(&account.id), words);
        }
        let Some(opening) = entries.first().filter(|entry| entry.sequence == 1) else { return };
        let mut words = Vec::new();
        codec::account_fields(account, opening, |name, value| {
            words.extend([name.to_owned(), value.to_string()]);
        });
        let member = ["0", account.id.as_str()];
        commands.push(partition, "HSET", self.keys.account(&account.id), words);
        commands.push(partition, "ZADD", self.keys.accounts(partition), member);
        if !account.owner.is_empty() {
            let partition = self.keys.partition_of_owner(&account.owner);
            commands.push(partition, "ZADD", self.keys.owner(&account.owner), member);
        }
    }

    /// Makes sure that the entries exist that records name.
    async fn require_entries(
        &self,
        connection: &Connection,
        requests: &[(RequestKey, RequestRecord)],
    ) -> Result<(), StoreError> {
        let named: Vec<_> = requests
            .iter()
            .filter_map(|(key, record)| match record.outcome {
                RecordedOutcome::Entry(id) => Some((key, id)),
                RecordedOutcome::Rejected(_) => None,
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let reads = named.iter().map(|(key, id)| {
            let id = id.to_string();
            command("XRANGE", [self.keys.entries(&key.account_id), id.clone(), id])
        });
        let found = connection.send_all(reads.collect()).await?;
        for ((key, id), found) in named.into_iter().zip(found) {
            if reply::list(found)?.is_empty() {
                return Err(without_entry(key, id));
            }
        }
        Ok(())
    }

    /// Removes everything except the identity of the bank.
    async fn clear(&self, connection: &Connection, import: &ImportId) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let words = [cursor.as_str(), "MATCH", &self.keys.pattern(), "COUNT", KEYS_PER_SCAN];
            let [next, keys] = reply::pair(connection.send(command("SCAN", words)).await?)?;
            let mut commands = Batch::default();
            for key in reply::list(keys)? {
                let key = reply::text(key)?;
                if let Some(partition) = self.keys.partition_of_data(&key) {
                    commands.push(partition, "UNLINK", key, [""; 0]);
                }
            }
            self.write(connection, import, commands).await?;
            cursor = reply::text(next)?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        connection: &Connection,
        import: &ImportId,
        commands: Batch,
    ) -> Result<(), StoreError> {
        let calls = commands.0.into_iter().map(|(partition, PartitionBatch { keys, words })| {
            let keys = once(self.keys.meta(partition)).chain(keys).collect();
            (keys, once(mark(import)).chain(words).collect())
        });
        self.evaluate(connection, WRITE, calls.collect()).await.map(drop)
    }

    /// The identity in each partition.
    fn identities(&self) -> impl Iterator<Item = String> {
        self.keys.all_partitions().map(|partition| self.keys.meta(partition))
    }

    /// Runs a script of an import with keys and arguments, once for each of these, and waits for replicas as a commit does.
    async fn evaluate(
        &self,
        connection: &Connection,
        script: &'static str,
        calls: Vec<(Vec<String>, Vec<Value>)>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in trips(calls, CALLS_PER_TRIP) {
            let writes = calls.into_iter().map(|(keys, arguments)| {
                let script = [script.into(), Value::from(keys.len().to_string())];
                command("EVAL", script.into_iter().chain(keys.into_iter().map(Value::from)).chain(arguments))
            });
            for answer in connection.write_all(writes.collect()).await? {
                answers.push(answer.map_err(|error| match reply_code(&error) {
                    Some("TAKENOVER") => taken_over(),
                    Some("WRONGBANK") => {
                        let found = error.details().trim_start_matches("WRONGBANK").trim();
                        self.primary.guard().other_bank(found)
                    }
                    _ => connection.explain(&error),
                })?);
            }
        }
        Ok(answers)
    }

    /// The windows of records, while this clock and that of Redis agree on which they are.
    fn windows(&self) -> Result<RangeInclusive<u64>, StoreError> {
        self.clock().now().map_err(|_| clocks_apart())?;
        Ok(records::windows(self.script.retention, self.clock().estimate_seconds()))
    }
}
