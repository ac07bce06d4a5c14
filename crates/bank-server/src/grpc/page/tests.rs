use std::{convert::Infallible, future::ready};

use bank_domain::AccountId;

use super::*;

type AccountPage = Page<AccountId>;

impl Item for AccountId {
    type Cursor = Self;

    fn cursor(&self) -> Self {
        self.clone()
    }

    fn bytes(&self) -> usize {
        // The heavy ones fill half a page each.
        if self.as_str().starts_with("heavy") { BYTES_MAX / 2 } else { 1 }
    }
}

async fn walk(names: &[&str], size: i32, is_wanted: fn(&AccountId) -> bool) -> Vec<Vec<String>> {
    let ids: Vec<AccountId> = names.iter().map(|name| name.parse().unwrap()).collect();
    let fetch = |after: Option<AccountId>, limit| {
        let rest = ids.iter().filter(|id| after.as_ref().is_none_or(|after| *id > after));
        ready(Ok::<Vec<_>, Infallible>(rest.take(limit).cloned().collect()))
    };
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let page = AccountPage::parse(size, &token, &["x"]).unwrap();
        let Ok((found, next_page_token)) = page.read(fetch, is_wanted).await;
        pages.push(found.iter().map(ToString::to_string).collect());
        if next_page_token.is_empty() {
            return pages;
        }
        token = next_page_token;
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
