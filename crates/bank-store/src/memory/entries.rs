//! The entries of one account, in blocks: a history that grows is never copied.

use std::{ops::Range, sync::Arc};

use bank_domain::{Entry, EntryId};

/// How many entries a full block has.
const BLOCK: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Entries {
    /// All but the last are full.
    blocks: Vec<Vec<Arc<Entry>>>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    pub(super) fn get(&self, place: usize) -> Option<&Arc<Entry>> {
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(entry),
            // The first one grows, since most histories are short.
            Some(_) => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(entry);
                self.blocks.push(block);
            }
            None => self.blocks.push(vec![entry]),
        }
    }

    /// The place of the first entry of which this does not hold. It holds of those before.
    pub(super) fn partition_point(&self, holds: impl Fn(EntryId) -> bool) -> usize {
        let holds_at = |entry: &Arc<Entry>| holds(entry.id());
        let begins = |block: &Vec<Arc<Entry>>| block.first().is_some_and(holds_at);
        let Some(block) = self.blocks.partition_point(begins).checked_sub(1) else { return 0 };
        block * BLOCK + self.blocks[block].partition_point(holds_at)
    }

    pub(super) fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        range.filter_map(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests {
    use bank_domain::{
        AccountId, Currency, Description, EntryHash, EntryKind, Money, Timestamp, TransactionId,
    };

    use super::*;

    fn entry(sequence: u64) -> Arc<Entry> {
        let account_id: AccountId = "a".parse().unwrap();
        let time = Timestamp::UNIX_EPOCH;
        Arc::new(Entry {
            transaction_id: TransactionId {
                account_id: account_id.clone(),
                entry_id: EntryId { time, sequence },
            },
            account_id,
            sequence,
            time,
            kind: EntryKind::Deposit,
            amount: Money::zero(Currency::USD),
            balance_after: Money::zero(Currency::USD),
            request_id: None,
            description: Description::default(),
            hash: EntryHash::from_bytes([0; 32]),
        })
    }

    #[test]
    fn entries_are_found_in_whichever_block_they_are() {
        let mut entries = Entries::default();
        assert_eq!((entries.len(), entries.partition_point(|_| true)), (0, 0));
        for count in 1..=2 * BLOCK + 1 {
            entries.push(entry(count as u64));
            assert_eq!(entries.len(), count);
        }
        for place in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK] {
            let sequence = place as u64 + 1;
            assert_eq!(entries.get(place).map(|entry| entry.sequence), Some(sequence));
            assert_eq!(entries.partition_point(|id| id.sequence < sequence), place);
            assert_eq!(entries.partition_point(|id| id.sequence <= sequence), place + 1);
        }
        assert_eq!(entries.get(2 * BLOCK + 1), None);
        let sequences: Vec<_> = entries.range(BLOCK - 1..BLOCK + 1).rev().map(|it| it.sequence).collect();
        assert_eq!(sequences, [BLOCK as u64 + 1, BLOCK as u64]);
    }
}
