//! Page tokens, one line each: a filter of the list, an account id, and a token from a caller.

#![no_main]

use bank_domain::AccountId;
use bank_server::fuzzing::requests::{page_token, page_token_after};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let [filter, account_id, token] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let filters = [filter, "2"];
    if let Ok(written) = page_token(1, token, &filters) {
        assert_eq!(page_token(0, &written, &filters), Ok(written.clone()));
        if !written.is_empty() {
            assert!(page_token(1, token, &[filter, "3"]).is_err(), "a token of another list was accepted");
        }
    }
    if let Ok(account_id) = account_id.parse::<AccountId>() {
        let written = page_token_after(&account_id, &filters);
        assert_eq!(page_token(1, &written, &filters), Ok(written.clone()));
        assert!(page_token(-1, &written, &filters).is_err());
    }
});
