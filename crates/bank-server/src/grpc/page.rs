//! Pages of lists, and the tokens that lead from one to the next.

use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The page size if the caller does not choose one.
pub(super) const SIZE_DEFAULT: usize = 50;
/// The largest page size.
pub(super) const SIZE_MAX: usize = 1000;
/// A page of this many bytes ends early. Clients accept messages of 4 MiB.
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// How many items are read for one page, if a filter leaves few of them.
const SCAN_MAX: usize = 10_000;

/// The requested part of a list.
#[derive(Clone, Debug)]
pub(super) struct Page<Cursor> {
    size: usize,
    after: Option<Cursor>,
    /// A digest of the filters: a token is valid only for the list that it comes from.
    list: u64,
}

/// An item of a list that is read in pages.
pub(super) trait Item {
    type Cursor;

    /// Its position.
    fn cursor(&self) -> Self::Cursor;

    /// About how large it is in a reply, in bytes.
    fn bytes(&self) -> usize;
}

impl<Cursor: FromStr + ToString + Clone> Page<Cursor> {
    /// The page with this size and token of the list with these filters.
    pub(super) fn parse(size: i32, token: &str, filters: &[&str]) -> Result<Self, InvalidPage> {
        let size = match usize::try_from(size).map_err(|_| InvalidPage::Size { size })? {
            0 => SIZE_DEFAULT,
            size => size.min(SIZE_MAX),
        };
        let list = digest(filters);
        let after = match token {
            "" => None,
            token => {
                let (of, cursor) = token.split_once('.').ok_or(InvalidPage::Token)?;
                let cursor = cursor.parse().map_err(|_| InvalidPage::Token)?;
                if u64::from_str_radix(of, 16) != Ok(list) {
                    return Err(InvalidPage::Token);
                }
                Some(cursor)
            }
        };
        Ok(Self { size, after, list })
    }

    /// About how much memory it takes at most to make the reply, of items of so many bytes: they are there as they
    /// were read, as messages, and as bytes of the reply.
    pub(super) fn bytes_max(&self, item_bytes_max: usize) -> usize {
        3 * (self.size * item_bytes_max).min(BYTES_MAX + item_bytes_max)
    }

    /// Reads from the start of the page until it is full, the list ends, or [`SCAN_MAX`] items were read. `fetch` reads so many
    /// items after a cursor, or fewer if there are no more. Returns the items that are wanted, and the token of the next page.
    pub(super) async fn read<T, E, Fetch>(
        self,
        fetch: impl Fn(Option<Cursor>, usize) -> Fetch,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<(Vec<T>, String), E>
    where
        T: Item<Cursor = Cursor>,
        Fetch: Future<Output = Result<Vec<T>, E>>,
    {
        let mut items = Vec::new();
        let mut after = self.after;
        let (mut scanned, mut bytes) = (0, 0);
        // One more item than fits shows whether there is a next page.
        let mut limit = self.size + 1;
        while scanned < SCAN_MAX {
            let fetched = fetch(after.clone(), limit).await?;
            let is_last = fetched.len() < limit;
            scanned += fetched.len();
            for item in fetched {
                let is_kept = is_wanted(&item);
                if is_kept && (items.len() == self.size || bytes >= BYTES_MAX) {
                    return Ok((items, token(self.list, after.as_ref())));
                }
                after = Some(item.cursor());
                if is_kept {
                    bytes += item.bytes();
                    items.push(item);
                }
            }
            if is_last {
                return Ok((items, String::new()));
            }
            // The filter leaves few items: read many at a time.
            limit = SIZE_MAX + 1;
        }
        Ok((items, token(self.list, after.as_ref())))
    }
}

#[cfg(feature = "fuzzing")]
impl<Cursor: ToString> Page<Cursor> {
    /// The token that the page was asked for with, as the server writes it.
    pub(super) fn token(&self) -> String {
        token(self.list, self.after.as_ref())
    }
}

/// The page is not one of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPage {
    #[error("must be zero or more, is {size}")]
    Size { size: i32 },
    #[error("is not a token of this list; use next_page_token with the other fields unchanged")]
    Token,
}

impl InvalidPage {
    /// The field with the problem.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Size { .. } => "page_size",
            Self::Token => "page_token",
        }
    }
}

pub(super) fn token<Cursor: ToString>(list: u64, after: Option<&Cursor>) -> String {
    after.map_or_else(String::new, |after| format!("{list:016x}.{}", after.to_string()))
}

pub(super) fn digest(filters: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for filter in filters {
        hash.update((filter.len() as u64).to_le_bytes());
        hash.update(filter);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
