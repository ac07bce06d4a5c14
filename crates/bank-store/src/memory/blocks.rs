//! A list in blocks: one that grows is never copied.

use std::ops::Range;

/// How many items a full block has.
const BLOCK: usize = 512;

#[derive(Debug)]
pub(super) struct Blocks<T> {
    /// All but the last are full.
    blocks: Vec<Vec<T>>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T> Blocks<T> {
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    pub(super) fn push(&mut self, item: T) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(item),
            // The first one grows, since most lists are short.
            Some(_) => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(item);
                self.blocks.push(block);
            }
            None => self.blocks.push(vec![item]),
        }
    }

    /// The place of the first item of which this does not hold. It holds of those before.
    pub(super) fn partition_point(&self, holds: impl Fn(&T) -> bool) -> usize {
        let begins = |block: &Vec<T>| block.first().is_some_and(&holds);
        let Some(block) = self.blocks.partition_point(begins).checked_sub(1) else { return 0 };
        block * BLOCK + self.blocks[block].partition_point(holds)
    }

    pub(super) fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &T> {
        range.filter_map(|place| self.get(place))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_whichever_block_they_are() {
        let mut numbers = Blocks::default();
        assert_eq!((numbers.len(), numbers.partition_point(|_| true)), (0, 0));
        for number in 0..=2 * BLOCK {
            numbers.push(number);
            assert_eq!(numbers.len(), number + 1);
        }
        for place in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK] {
            assert_eq!(numbers.get(place), Some(&place));
            assert_eq!(numbers.partition_point(|number| *number < place), place);
            assert_eq!(numbers.partition_point(|number| *number <= place), place + 1);
        }
        assert_eq!(numbers.get(2 * BLOCK + 1), None);
        assert!(numbers.range(BLOCK - 1..BLOCK + 1).rev().eq(&[BLOCK, BLOCK - 1]));
        assert!(numbers.iter().copied().eq(0..=2 * BLOCK));
    }
}
