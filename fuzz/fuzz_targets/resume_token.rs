//! Resume tokens of watches: text from a caller, and positions that a server seemed to have sealed.
//!
//! A token that is accepted is accepted again as the server writes it, and by no other watch. Nobody but the bank can seal
//! one.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bank_server::fuzzing::watch::{Selection, resume_token, sealed};
use bank_store::{MemoryStore, Secret, Store as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

const BANK: &str = "bank";

static SECRET: LazyLock<Secret> = LazyLock::new(|| MemoryStore::new(Duration::ZERO).secret().clone());
static OTHER: LazyLock<Secret> = LazyLock::new(|| MemoryStore::new(Duration::ZERO).secret().clone());

fuzz_target!(|data: &[u8]| {
    let [mode, data @ ..] = data else { return };
    let text = match mode % 3 {
        0 => match std::str::from_utf8(data) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
        1 => sealed(data, BANK, &SECRET, &Selection::Bank),
        _ => unsealed(data),
    };
    let Ok(written) = resume_token(&text, BANK, &SECRET, &Selection::Bank) else { return };
    assert_eq!(resume_token(&written, BANK, &SECRET, &Selection::Bank), Ok(written.clone()));
    assert!(mode % 3 != 0 || is_unsealed(&text), "a token was accepted that nobody had sealed");
    assert!(resume_token(&written, "another", &SECRET, &Selection::Bank).is_err());
    assert!(resume_token(&written, BANK, &OTHER, &Selection::Bank).is_err());
    let account = Selection::Account("a".parse().expect("an id"));
    assert!(resume_token(&written, BANK, &SECRET, &account).is_err());
});

/// A token of version 1, which anybody can make.
fn unsealed(positions: &[u8]) -> String {
    let body = [&[1][..], &digest(BANK.as_bytes()), &digest(b"bank"), positions].concat();
    let end = digest(&body);
    BASE64_URL_SAFE_NO_PAD.encode([&body[..], &end].concat())
}

fn is_unsealed(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes[0] == 1)
}

fn digest(part: &[u8]) -> [u8; 8] {
    let hash = Sha256::digest([&(part.len() as u64).to_be_bytes()[..], part].concat());
    hash[..8].try_into().expect("eight bytes")
}
