//! Commits: one call of the script for each partition of a cluster, or one for all.

use std::sync::Arc;

use super::{
    RedisStore,
    commit::{self, Call},
    connection::{Connection, command},
    keys::HOME,
    parts::{self, ForeignIndex, Part},
    primary::Access,
    records,
    script::{self, Script},
    shards::Answer,
};
use crate::{Committed, Proposal, StoreError};

/// Adds an account to the index of its owner in another partition.
const INDEX: &str = include_str!("index.lua");

impl RedisStore {
    pub(super) async fn commit_all(&self, proposals: &[Proposal]) -> Result<Committed, StoreError> {
        let parts = if self.shards.is_cluster() {
            let parts = parts::divide(&self.keys, proposals)?;
            self.write_indexes(&parts::foreign_indexes(&self.keys, proposals)).await?;
            parts
        } else {
            vec![parts::whole(HOME, proposals)]
        };
        let call = |part: &Part<'_>| Call::new(&self.keys, part.scope, &part.proposals);
        let calls = parts.iter().map(call).collect::<Result<Vec<_>, _>>()?;
        let answers = self.run(&parts, &calls).await;
        let results = parts.into_iter().zip(&calls).zip(answers).map(|((part, call), answer)| {
            let committed = self.committed(&part, call, answer);
            (part, committed)
        });
        parts::combine(results.collect())
    }

    /// Runs the script for each part. A Redis that does not know it gets it.
    async fn run(&self, parts: &[Part<'_>], calls: &[Call]) -> Vec<Answer> {
        let partitions: Vec<_> = parts.iter().map(|part| part.partition).collect();
        let make = |place: usize| self.script.command(self.shards.common(), &calls[place]);
        let mut answers = self.shards.send(Access::Commit, &partitions, &make).await;
        let missing: Vec<_> =
            (0..answers.len()).filter(|place| script::is_missing(&answers[*place])).collect();
        if missing.is_empty() {
            return answers;
        }
        let mut loaded: Vec<Arc<Connection>> = Vec::new();
        for answered in missing.iter().filter_map(|place| answers[*place].as_ref().ok()) {
            if loaded.iter().any(|connection| Arc::ptr_eq(connection, &answered.connection)) {
                continue;
            }
            if let Err(error) = Script::load(&answered.connection).await {
                // What was sent without it was refused.
                tracing::warn!(%error, "cannot load the commit script");
            }
            loaded.push(Arc::clone(&answered.connection));
        }
        let partitions: Vec<_> = missing.iter().map(|place| partitions[*place]).collect();
        let again = self.shards.send(Access::Commit, &partitions, &|index| make(missing[index])).await;
        for (place, answer) in missing.iter().zip(again) {
            answers[*place] = answer;
        }
        answers
    }

    /// What became of the proposals of a part.
    fn committed(&self, part: &Part<'_>, call: &Call, answer: Answer) -> Result<Committed, StoreError> {
        let answered = answer?;
        let connection = Arc::clone(&answered.connection);
        let reply = script::accepted(answered)?;
        // The script has run: whatever it replied, something may have been done.
        let reply = call.committed(&part.proposals, reply).map_err(|error| {
            let commands = part.proposals.len();
            tracing::error!(%error, commands, "the reply to a commit is malformed");
            StoreError::OutcomeUnknown(error.to_string())
        })?;
        self.expire_records(connection, &reply);
        Ok(reply.committed)
    }

    /// Adds accounts that are about to be opened to the indexes of their owners in other partitions. If they are not opened
    /// after all, readers leave them out.
    async fn write_indexes(&self, indexes: &[ForeignIndex<'_>]) -> Result<(), StoreError> {
        if indexes.is_empty() {
            return Ok(());
        }
        let common = self.shards.common();
        let make = |place: usize| {
            let ForeignIndex { partition, key, account_id } = &indexes[place];
            let (meta, barrier) = (self.keys.meta(*partition), self.keys.barrier(*partition));
            let barrier_written = if common.options.replicas > 0 { "1" } else { "0" };
            let keys = ["3", meta.as_str(), barrier.as_str(), key];
            let words = [common.bank_id.as_str(), account_id.as_str(), barrier_written];
            Ok(command("EVAL", [&[INDEX], keys.as_slice(), &words].concat()))
        };
        let partitions: Vec<_> = indexes.iter().map(|index| index.partition).collect();
        for answer in self.shards.send(Access::Commit, &partitions, &make).await {
            match answer.and_then(script::accepted) {
                Ok(_) => {}
                // Nothing of the commit has been sent yet.
                Err(StoreError::OutcomeUnknown(reason)) => return Err(StoreError::Unavailable(reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes expired request records of the partitions where a commit has begun a window, in the background: a failure leaves
    /// them to the next window.
    fn expire_records(&self, connection: Arc<Connection>, reply: &commit::Reply) {
        let partitions = reply.partitions_with_new_window.clone();
        if partitions.is_empty() {
            return;
        }
        let oldest_kept = records::oldest_kept(self.script.retention, reply.time_seconds);
        let (keys, bank_id) = (self.keys.clone(), self.properties.bank_id.clone());
        tokio::spawn(async move {
            for partition in partitions {
                if let Err(error) = script::expire(&connection, &keys, &bank_id, partition, oldest_kept).await
                {
                    tracing::debug!(%error, partition, "expired request records stay for now");
                }
            }
        });
    }
}
