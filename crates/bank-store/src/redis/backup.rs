//! Request records in order, and imports.
//!
//! During an import `bank_id` is `import:<id>`, so whatever compares it refuses to work: every commit, every read
//! and every watchdog, of every server. The id of the bank is in another field meanwhile.
//!
//! On a cluster the partitions are marked one after another, [`HOME`] first, and the marks are removed in the opposite order.
//! So an import that was interrupted between them leaves the mark of [`HOME`].

use std::{collections::BTreeMap, iter::once, ops::RangeInclusive};

use async_trait::async_trait;
use bank_domain::AccountId;
use fred::types::Value;

use super::{
    PARTITIONS_PER_READ, RedisStore, codec,
    connection::{Command, command, trips},
    errors::reply_code,
    keys::{HOME, IMPORT_MARK},
    primary::{Access, Primary},
    records, reply,
    script::clocks_apart,
    shards::Answer,
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
/// How often records are read anew if a cluster moves partitions meanwhile.
const SCANS_MAX: u32 = 100;

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
                windows.clone().map(move |window| (partition, self.keys.requests(partition, window)))
            });
            self.scan(hashes.collect(), &mut page).await?;
            next = end;
        }
        Ok(page.finish())
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        for primary in self.shards.all()? {
            primary.guard().require(|shortfall| !shortfall.is_other_bank)?;
        }
        if !self.mark_all(import).await? {
            return Ok(ImportStart::NotEmpty);
        }
        // So that calls are refused from now on, not only once one of them has failed.
        self.check_all().await?;
        self.clear(import).await?;
        Ok(ImportStart::Started)
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
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
        self.write(import, commands).await?;
        self.require_entries(&batch.requests).await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        self.unmark_all(import).await?;
        // Otherwise calls would be refused until the next tick of the watchdog.
        self.check_all().await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        let read = command("HGET", [self.keys.meta(HOME).as_str(), "import_over"]);
        let [finished] = reply::array(self.read_marked(vec![(HOME, read)]).await?)?;
        if finished != mark(import) {
            self.clear(import).await?;
        }
        self.finish_import(import).await
    }
}

impl RedisStore {
    /// Marks every partition, if none has accounts. False if one has.
    async fn mark_all(&self, import: &ImportId) -> Result<bool, StoreError> {
        let arguments = vec![Value::from(self.bank_id()), mark(import)];
        if !self.shards.is_cluster() {
            let indexes = self.keys.all_partitions().map(|partition| self.keys.accounts(partition));
            let call = (HOME, self.identities().chain(indexes).collect(), arguments);
            let [answer] = reply::array(self.evaluate(BEGIN, vec![call]).await?)?;
            return Ok(reply::integer(&answer)? == 1);
        }
        let read = |partition| {
            let accounts = self.keys.accounts(partition);
            let meta = self.keys.meta(partition);
            [
                (partition, command("EXISTS", [accounts])),
                (partition, command("HGET", [meta.as_str(), "bank_id"])),
            ]
        };
        let found = self.read_marked(self.keys.all_partitions().flat_map(read).collect()).await?;
        let has_accounts = |found: &[Value]| {
            let is_marked = found[1].as_str().is_some_and(|bank_id| bank_id.starts_with(IMPORT_MARK));
            found[0].as_i64() == Some(1) && !is_marked
        };
        if found.chunks_exact(2).any(has_accounts) {
            return Ok(false);
        }
        let call = |partition| {
            (partition, vec![self.keys.meta(partition), self.keys.accounts(partition)], arguments.clone())
        };
        let mut answers = self.evaluate(BEGIN, vec![call(HOME)]).await?;
        let others = self.keys.all_partitions().filter(|partition| *partition != HOME);
        answers.extend(self.evaluate(BEGIN, others.map(call).collect()).await?);
        if answers.iter().all(|answer| answer.as_i64() == Some(1)) {
            return Ok(true);
        }
        // An account was opened meanwhile.
        self.unmark_all(import).await?;
        self.check_all().await?;
        Ok(false)
    }

    async fn unmark_all(&self, import: &ImportId) -> Result<(), StoreError> {
        if !self.shards.is_cluster() {
            let call = (HOME, self.identities().collect(), vec![mark(import)]);
            return self.evaluate(END, vec![call]).await.map(drop);
        }
        let call = |partition| (partition, vec![self.keys.meta(partition)], vec![mark(import)]);
        let others = self.keys.all_partitions().filter(|partition| *partition != HOME);
        self.evaluate(END, others.map(call).collect()).await?;
        self.evaluate(END, vec![call(HOME)]).await.map(drop)
    }

    /// Compares the identity of each Redis again.
    async fn check_all(&self) -> Result<(), StoreError> {
        for primary in self.shards.all()? {
            primary.guard().check(&*primary.commits()?).await?;
        }
        Ok(())
    }

    /// Reads while the bank may be marked.
    async fn read_marked(&self, reads: Vec<(u32, Command)>) -> Result<Vec<Value>, StoreError> {
        let partitions: Vec<_> = reads.iter().map(|(partition, _)| *partition).collect();
        let make = |place: usize| Ok(reads[place].1.clone());
        let answers = self.shards.send(Access::Import, &partitions, &make).await;
        answers.into_iter().map(|answer| answer?.value()).collect()
    }

    /// Offers all records of some hashes to a page, in whatever order Redis has them.
    async fn scan(&self, hashes: Vec<(u32, String)>, page: &mut RequestsPage<'_>) -> Result<(), StoreError> {
        // A cursor means nothing to another node, so it begins anew if partitions have moved meanwhile.
        for _ in 0..SCANS_MAX {
            let moves = self.shards.moves();
            self.scan_once(hashes.clone(), page).await?;
            if self.shards.moves() == moves {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("the cluster moves slots: request records cannot be read now".to_owned()))
    }

    async fn scan_once(
        &self,
        hashes: Vec<(u32, String)>,
        page: &mut RequestsPage<'_>,
    ) -> Result<(), StoreError> {
        let mut cursors: Vec<_> = hashes.into_iter().map(|hash| (hash, "0".to_owned())).collect();
        while !cursors.is_empty() {
            let scans = cursors.iter().map(|((partition, hash), cursor)| {
                (*partition, command("HSCAN", [hash.as_str(), cursor, "COUNT", RECORDS_PER_SCAN]))
            });
            let replies = self.shards.read(scans.collect()).await?;
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
    async fn require_entries(&self, requests: &[(RequestKey, RequestRecord)]) -> Result<(), StoreError> {
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
            let read = command("XRANGE", [self.keys.entries(&key.account_id), id.clone(), id]);
            (self.keys.partition_of(&key.account_id), read)
        });
        let found = self.read_marked(reads.collect()).await?;
        for ((key, id), found) in named.into_iter().zip(found) {
            if reply::list(found)?.is_empty() {
                return Err(without_entry(key, id));
            }
        }
        Ok(())
    }

    /// Removes everything except the identity of the bank.
    async fn clear(&self, import: &ImportId) -> Result<(), StoreError> {
        for primary in self.shards.all()? {
            self.clear_on(&primary, import).await?;
        }
        Ok(())
    }

    async fn clear_on(&self, primary: &Primary, import: &ImportId) -> Result<(), StoreError> {
        let connection = primary.commits()?;
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
            self.write(import, commands).await?;
            cursor = reply::text(next)?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    async fn write(&self, import: &ImportId, commands: Batch) -> Result<(), StoreError> {
        let calls = commands.0.into_iter().map(|(partition, PartitionBatch { keys, words })| {
            let keys = once(self.keys.meta(partition)).chain(keys).collect();
            (partition, keys, once(mark(import)).chain(words).collect())
        });
        self.evaluate(WRITE, calls.collect()).await.map(drop)
    }

    /// The identity in each partition.
    fn identities(&self) -> impl Iterator<Item = String> {
        self.keys.all_partitions().map(|partition| self.keys.meta(partition))
    }

    /// Runs a script of an import with keys and arguments, once for each of these partitions, and waits for replicas as a
    /// commit does.
    async fn evaluate(
        &self,
        script: &'static str,
        calls: Vec<(u32, Vec<String>, Vec<Value>)>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut values = Vec::with_capacity(calls.len());
        for calls in trips(calls, CALLS_PER_TRIP) {
            let partitions: Vec<_> = calls.iter().map(|(partition, ..)| *partition).collect();
            let make = |place: usize| {
                let (_, keys, arguments) = &calls[place];
                let script = [script.into(), Value::from(keys.len().to_string())];
                let keys = keys.iter().map(|key| Value::from(key.as_str()));
                Ok(command("EVAL", script.into_iter().chain(keys).chain(arguments.iter().cloned())))
            };
            for answer in self.shards.send(Access::Import, &partitions, &make).await {
                values.push(done(answer)?);
            }
        }
        Ok(values)
    }

    /// The windows of records, while this clock and that of Redis agree on which they are.
    fn windows(&self) -> Result<RangeInclusive<u64>, StoreError> {
        self.clock().now().map_err(|_| clocks_apart())?;
        Ok(records::windows(self.script.retention, self.clock().estimate_seconds()))
    }
}

/// What the reply to a script of an import means.
fn done(answer: Answer) -> Result<Value, StoreError> {
    let answered = answer?;
    answered.reply.map_err(|error| match reply_code(&error) {
        Some("TAKENOVER") => taken_over(),
        Some("WRONGBANK") => {
            let found = error.details().trim_start_matches("WRONGBANK").trim();
            answered.primary.guard().other_bank(found)
        }
        _ => answered.connection.explain(&error),
    })
}
