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
