//! Records in order, and imports.
//!
//! A bank that is marked has `import:<id>` where its id should be, so whatever compares that refuses:
//! every commit, every read and every watchdog, of every server. Its own id is beside it meanwhile.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use bank_domain::{AccountId, Entry, EntryId};
use fred::{
    cmd,
    interfaces::{ClientLike as _, HashesInterface as _, SortedSetsInterface as _, StreamsInterface as _},
    types::Value,
};

use super::{
    PARTITIONS_PER_READ, RedisStore, codec, connection::Connection, errors::reply_code, records, reply,
    script::clocks_apart,
};
use crate::{
    Backup, HistoryPart, ImportBatch, ImportId, ImportStart, RecordedOutcome, RequestKey, RequestRecord,
    RequestsQuery, StoreError,
    backup::{RequestsPage, taken_over, without_entry},
};

/// What the id of a bank begins with while it is half of an import; `begin.lua` has it too.
pub(super) const MARK: &str = "import:";

const BEGIN: &str = include_str!("backup/begin.lua");
const WRITE: &str = include_str!("backup/write.lua");
const END: &str = include_str!("backup/end.lua");

/// About how many records a walk through them reads at a time from each hash.
const RECORDS_PER_SCAN: &str = "1000";
/// How many accounts are removed at a time.
const ACCOUNTS_PER_REMOVAL: i64 = 500;
/// How many windows of records there can be before those that are looked at now, if records were kept
/// for longer before.
const WINDOWS_BEFORE_MAX: u64 = 31;

/// Commands for `write.lua`.
#[derive(Default)]
struct Commands(Vec<Value>);

impl Commands {
    fn push(&mut self, words: impl IntoIterator<Item = Value>) {
        let place = self.0.len();
        self.0.push(Value::Null);
        self.0.extend(words);
        self.0[place] = Value::from((self.0.len() - place - 1).to_string());
    }
}

fn mark(import: &ImportId) -> Value {
    Value::from(format!("{MARK}{import}"))
}

#[async_trait]
impl Backup for RedisStore {
    async fn requests(&self, query: &RequestsQuery) -> Result<Vec<(RequestKey, RequestRecord)>, StoreError> {
        let partition = |id: &AccountId| self.keys.partition_of(id);
        let after = query.after.as_ref().map(|key| &key.account_id).or(query.after_account.as_ref());
        let first = after.map_or(0, partition);
        let last = query.through_account.as_ref().map_or(self.keys.partitions() - 1, partition);
        let windows = self.windows_now()?;

        let mut page = RequestsPage::new(query, self.keys.partitioning());
        let mut next = first;
        while next <= last {
            let end = (next + PARTITIONS_PER_READ).min(last + 1);
            let hashes = (next..end).flat_map(|partition| {
                windows.clone().map(move |window| self.keys.requests_of(partition, window))
            });
            self.scan(hashes.collect(), &mut page).await?;
            next = end;
        }
        Ok(page.finish())
    }

    async fn begin_import(&self, import: &ImportId) -> Result<ImportStart, StoreError> {
        self.guard.require_durable()?;
        let connection = self.commits.connection()?;
        let lists = (0..self.keys.partitions()).map(|partition| self.keys.accounts(partition));
        let keys = std::iter::once(self.keys.meta()).chain(lists).map(Value::from).collect();
        let arguments = vec![Value::from(self.guard.bank_id()), mark(import)];
        let answer = self.evaluate(&connection, BEGIN, keys, arguments).await?;
        if reply::integer(&answer)? == 0 {
            return Ok(ImportStart::NotEmpty);
        }
        // So that nobody has to run into it first.
        self.guard.look(&connection).await?;
        self.clear(&connection, import).await?;
        Ok(ImportStart::Started)
    }

    async fn import(&self, import: &ImportId, batch: &ImportBatch) -> Result<(), StoreError> {
        let connection = self.commits.connection()?;
        let mut commands = Commands::default();
        for part in &batch.histories {
            self.history(part, &mut commands);
        }
        let windows = self.windows_now()?;
        for (request, record) in &batch.requests {
            let window = (record.recorded_at / self.windows.window_seconds).min(*windows.end());
            if window < *windows.start() {
                continue;
            }
            let partition = self.keys.partition_of(&request.account_id);
            let key = self.keys.requests_of(partition, window);
            let begun = self.keys.requests(partition);
            let record = records::record(record)?;
            commands.push(["HSET", &key, &records::field(request), &record].map(Value::from));
            commands.push(["SADD", &begun, &window.to_string()].map(Value::from));
        }
        self.write(&connection, import, commands).await?;
        self.require_entries(&connection, &batch.requests).await
    }

    async fn finish_import(&self, import: &ImportId) -> Result<(), StoreError> {
        let connection = self.commits.connection()?;
        let keys = vec![Value::from(self.keys.meta())];
        self.evaluate(&connection, END, keys, vec![mark(import)]).await?;
        // Else it would be refused until the watchdog looks again.
        self.guard.look(&connection).await
    }

    async fn abandon_import(&self, import: &ImportId) -> Result<(), StoreError> {
        let connection = self.commits.connection()?;
        let over: Value = connection.run(connection.client().hget(self.keys.meta(), "import_over")).await?;
        if over != mark(import) {
            self.clear(&connection, import).await?;
        }
        self.finish_import(import).await
    }
}

impl RedisStore {
    /// Offers all records of some hashes, in whatever order Redis has them.
    async fn scan(&self, hashes: Vec<String>, page: &mut RequestsPage<'_>) -> Result<(), StoreError> {
        let mut cursors: Vec<_> = hashes.into_iter().map(|hash| (hash, "0".to_owned())).collect();
        while !cursors.is_empty() {
            let reading = self.reading().await?;
            for (hash, cursor) in &cursors {
                let words = [hash, cursor, "COUNT", RECORDS_PER_SCAN].map(Value::from).to_vec();
                reading.ask(reading.pipeline().custom(cmd!("HSCAN"), words)).await?;
            }
            let answers = reading.answers().await?;
            let mut unfinished = Vec::new();
            for ((hash, _), answer) in cursors.into_iter().zip(answers) {
                let [cursor, fields] = reply::pair(answer)?;
                for (field, record) in reply::fields(fields)? {
                    let record = String::from_utf8_lossy(&record);
                    page.offer(records::key(&field)?, |key| records::parse(key, &record))?;
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

    /// What writes entries of an account, and the account.
    fn history(&self, part: &HistoryPart, commands: &mut Commands) {
        let HistoryPart { account, entries } = part;
        let id = &account.id;
        let entries_key = self.keys.entries(id);
        for entry in entries {
            let (id, text) = (entry.id().to_string(), codec::EntryText(entry).to_string());
            let words = ["XADD", &entries_key, &id, codec::ENTRY, &text, codec::HASH].map(Value::from);
            commands.push(words.into_iter().chain([Value::from(entry.hash.as_bytes().as_slice())]));
        }
        // Its first entry comes with all of its fields.
        let Some(opening) = entries.first().filter(|entry: &&Entry| entry.sequence == 1) else { return };
        let newest = EntryId { time: account.updated_at, sequence: account.version };
        let always = [
            ("HSET", self.keys.account(id)),
            (codec::BALANCE, account.balance.minor_units.to_string()),
            (codec::NEWEST, newest.to_string()),
            (codec::HASH, account.head.to_string()),
        ];
        let mut others: Vec<Vec<u8>> = Vec::new();
        codec::other_account_fields(account, opening, &mut others);
        let words = always.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).map(Value::from);
        commands.push(words.chain(others.iter().map(|word| Value::from(word.as_slice()))));
        let list = self.keys.accounts(self.keys.partition_of(id));
        commands.push(["ZADD", &list, "0", id.as_str()].map(Value::from));
        if !account.owner.is_empty() {
            commands.push(["ZADD", &self.keys.owner(&account.owner), "0", id.as_str()].map(Value::from));
        }
    }

    /// Makes sure that the entries are there that records name.
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
        let pipeline = connection.pipeline();
        for (key, id) in &named {
            let (stream, id) = (self.keys.entries(&key.account_id), id.to_string());
            let asked = pipeline.xrange::<(), _, _, _>(stream, id.clone(), id, None).await;
            asked.map_err(|error| connection.explain(&error))?;
        }
        let found: Vec<Value> = connection.run(pipeline.all()).await?;
        for ((key, id), found) in named.into_iter().zip(found) {
            if reply::list(found)?.is_empty() {
                return Err(without_entry(key, id));
            }
        }
        Ok(())
    }

    /// Removes all but what says which bank this is.
    async fn clear(&self, connection: &Connection, import: &ImportId) -> Result<(), StoreError> {
        let windows = self.windows_now()?;
        let windows = windows.start().saturating_sub(WINDOWS_BEFORE_MAX)..=*windows.end();
        for partition in 0..self.keys.partitions() {
            let list = self.keys.accounts(partition);
            loop {
                let ids =
                    connection.client().zrange(&list, 0, ACCOUNTS_PER_REMOVAL - 1, None, false, None, false);
                let ids: Vec<String> = connection.run(ids).await?;
                if ids.is_empty() {
                    break;
                }
                self.remove(connection, import, &list, &ids).await?;
            }
            let records = windows.clone().map(|window| Value::from(self.keys.requests_of(partition, window)));
            let mut commands = Commands::default();
            let begun = Value::from(self.keys.requests(partition));
            commands.push([Value::from("UNLINK"), begun].into_iter().chain(records));
            self.write(connection, import, commands).await?;
        }
        Ok(())
    }

    async fn remove(
        &self,
        connection: &Connection,
        import: &ImportId,
        list: &str,
        ids: &[String],
    ) -> Result<(), StoreError> {
        let malformed =
            |id: &str| StoreError::Corrupt(format!("an index holds {id:?}, which is no account id"));
        let ids: Vec<AccountId> =
            ids.iter().map(|id| id.parse().map_err(|_| malformed(id))).collect::<Result<_, _>>()?;
        let pipeline = connection.pipeline();
        for id in &ids {
            let asked = pipeline.hget::<(), _, _>(self.keys.account(id), "owner").await;
            asked.map_err(|error| connection.explain(&error))?;
        }
        let owners: Vec<Option<String>> = connection.run(pipeline.all()).await?;
        let mut commands = Commands::default();
        for (id, owner) in ids.iter().zip(owners) {
            if let Some(owner) = owner.and_then(|owner| owner.parse().ok()) {
                commands.push(["ZREM", &self.keys.owner(&owner), id.as_str()].map(Value::from));
            }
            commands.push(["UNLINK", &self.keys.account(id), &self.keys.entries(id)].map(Value::from));
            commands.push(["ZREM", list, id.as_str()].map(Value::from));
        }
        self.write(connection, import, commands).await
    }

    async fn write(
        &self,
        connection: &Connection,
        import: &ImportId,
        commands: Commands,
    ) -> Result<(), StoreError> {
        let keys = vec![Value::from(self.keys.meta())];
        let arguments = std::iter::once(mark(import)).chain(commands.0).collect();
        self.evaluate(connection, WRITE, keys, arguments).await.map(drop)
    }

    /// Runs a script of an import, and waits for replicas as a commit does.
    async fn evaluate(
        &self,
        connection: &Connection,
        script: &'static str,
        keys: Vec<Value>,
        arguments: Vec<Value>,
    ) -> Result<Value, StoreError> {
        let mut words = vec![Value::from(script), Value::from(keys.len().to_string())];
        words.extend(keys);
        words.extend(arguments);
        let answer = self.script.run(connection, cmd!("EVAL"), words).await?;
        answer.map_err(|error| match reply_code(&error) {
            Some("TAKENOVER") => taken_over(),
            Some("WRONGBANK") => {
                self.guard.other_bank(error.details().trim_start_matches("WRONGBANK").trim())
            }
            _ => connection.explain(&error),
        })
    }

    /// The windows of records, while this clock and that of Redis agree on which they are.
    fn windows_now(&self) -> Result<RangeInclusive<u64>, StoreError> {
        self.clock.now().map_err(|_| clocks_apart())?;
        Ok(self.windows.at(self.clock.estimate_seconds()))
    }
}
