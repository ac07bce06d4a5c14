//! Pages of lists, and the tokens that lead from one to the next.

use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::status::Failure;

/// How many items a page has unless the caller says.
pub(super) const SIZE_DEFAULT: usize = 50;
/// How many items a page has at most.
pub(super) const SIZE_MAX: usize = 1000;
/// How large a page grows before it ends early, in bytes: below the 4 MiB that clients accept.
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// How many items are looked at for one page, where a filter leaves few of them.
const SCAN_MAX: usize = 10_000;

/// The part of a list that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Page<Cursor> {
    size: usize,
    after: Option<Cursor>,
    /// Tells lists with other filters apart: a token of one is none of another.
    list: u64,
}

/// A list that is read in pages.
pub(super) trait List: Send + Sync {
    type Item: Send;
    type Cursor;

    /// Items beyond the cursor; fewer than `limit` means that there are no more.
    fn fetch(
        &self,
        after: Option<Self::Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Item>, Failure>> + Send;

    /// Whether the caller asked for this one.
    fn wants(&self, item: &Self::Item) -> bool;

    /// About how large an item is in a reply.
    fn bytes(item: &Self::Item) -> usize;

    /// Where an item stands.
    fn cursor(item: &Self::Item) -> Self::Cursor;
}

/// What is asked for is a page of a list.
pub(super) trait Paged {
    /// About how much memory it takes at most to make the reply.
    fn bytes_max(&self) -> usize;
}

/// Items, and the token of the page after them.
pub(super) struct Found<T> {
    pub(super) items: Vec<T>,
    pub(super) next_page_token: String,
}

impl<Cursor: FromStr + ToString + Clone> Page<Cursor> {
    /// The page with this size and token, of the list that `filters` describe.
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

    /// Reads on from where the page starts, until it is full, the list ends or enough was looked at.
    pub(super) async fn of<L: List<Cursor = Cursor>>(self, list: L) -> Result<Found<L::Item>, Failure> {
        let mut items = Vec::new();
        let mut after = self.after;
        let (mut scanned, mut bytes) = (0, 0);
        // One more than fits tells whether there is a page after this one.
        let mut limit = self.size + 1;
        while scanned < SCAN_MAX {
            let fetched = list.fetch(after.clone(), limit).await?;
            let last = fetched.len() < limit;
            scanned += fetched.len();
            for item in fetched {
                let kept = list.wants(&item);
                if kept && (items.len() == self.size || bytes >= BYTES_MAX) {
                    return Ok(Found { items, next_page_token: token(self.list, after.as_ref()) });
                }
                after = Some(L::cursor(&item));
                if kept {
                    bytes += L::bytes(&item);
                    items.push(item);
                }
            }
            if last {
                return Ok(Found { items, next_page_token: String::new() });
            }
            // The filter leaves few: look at many at a time.
            limit = SIZE_MAX + 1;
        }
        Ok(Found { items, next_page_token: token(self.list, after.as_ref()) })
    }
}

#[cfg(feature = "fuzzing")]
impl<Cursor: ToString> Page<Cursor> {
    /// The token that the page was asked for with, as the server writes it.
    pub(super) fn token(&self) -> String {
        token(self.list, self.after.as_ref())
    }
}

/// The page cannot be one of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPage {
    #[error("must be zero or more, is {size}")]
    Size { size: i32 },
    #[error("is not a token of this list; use next_page_token with the other fields unchanged")]
    Token,
}

impl InvalidPage {
    /// The field that it is about.
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
mod tests {
    use bank_domain::AccountId;

    use super::*;

    type AccountPage = Page<AccountId>;

    struct Names {
        ids: Vec<AccountId>,
        wanted: fn(&AccountId) -> bool,
    }

    impl List for Names {
        type Item = AccountId;
        type Cursor = AccountId;

        async fn fetch(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>, Failure> {
            let rest = self.ids.iter().filter(|id| after.as_ref().is_none_or(|after| *id > after));
            Ok(rest.take(limit).cloned().collect())
        }

        fn wants(&self, id: &AccountId) -> bool {
            (self.wanted)(id)
        }

        fn bytes(id: &AccountId) -> usize {
            // The heavy ones fill half a page each.
            if id.as_str().starts_with("heavy") { BYTES_MAX / 2 } else { 1 }
        }

        fn cursor(id: &AccountId) -> AccountId {
            id.clone()
        }
    }

    async fn walk(names: &[&str], size: i32, wanted: fn(&AccountId) -> bool) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let ids = names.iter().map(|name| name.parse().unwrap()).collect();
            let page = AccountPage::parse(size, &token, &["x"]).unwrap();
            let Ok(found) = page.of(Names { ids, wanted }).await else { panic!("nothing fails here") };
            pages.push(found.items.iter().map(ToString::to_string).collect());
            if found.next_page_token.is_empty() {
                return pages;
            }
            token = found.next_page_token;
        }
    }

    #[tokio::test]
    async fn pages_are_full_until_the_last_and_nothing_is_lost_between_them() {
        let all = |_: &AccountId| true;
        assert_eq!(walk(&["a", "b", "c"], 2, all).await, [vec!["a", "b"], vec!["c"]]);
        assert_eq!(walk(&["a", "b"], 2, all).await, [vec!["a", "b"]]);
        assert_eq!(walk(&[], 2, all).await, [Vec::<String>::new()]);
        assert_eq!(
            walk(&["heavy1", "heavy2", "heavy3"], 9, all).await,
            [vec!["heavy1", "heavy2"], vec!["heavy3"]]
        );
        let odd = |id: &AccountId| matches!(id.as_str(), "a" | "c" | "e");
        assert_eq!(walk(&["a", "b", "c", "d", "e", "f"], 2, odd).await, [vec!["a", "c"], vec!["e"]]);
    }

    #[test]
    fn sizes_and_tokens_of_other_lists_are_refused() {
        assert_eq!(AccountPage::parse(0, "", &[]).unwrap().size, SIZE_DEFAULT);
        assert_eq!(AccountPage::parse(1001, "", &[]).unwrap().size, SIZE_MAX);
        assert_eq!(AccountPage::parse(-1, "", &[]).unwrap_err(), InvalidPage::Size { size: -1 });
        let cursor: AccountId = "123".parse().unwrap();
        let token = token(digest(&["alice"]), Some(&cursor));
        assert_eq!(AccountPage::parse(1, &token, &["alice"]).unwrap().after, Some(cursor));
        for (token, filters) in
            [(&*token, ["bob"]), ("x", ["alice"]), ("x.123", ["alice"]), (".", ["alice"]), ("\0", ["alice"])]
        {
            assert_eq!(AccountPage::parse(1, token, &filters).unwrap_err(), InvalidPage::Token, "{token:?}");
        }
    }
}
