use std::time::Duration;

use bank_store::{MemoryStore, Store as _};

use super::InvalidToken::{Damaged, Malformed, OtherBank, Version};
use super::*;

fn secret() -> Secret {
    MemoryStore::new(Duration::ZERO).secret().clone()
}

fn positions(ids: &[&str]) -> Positions {
    let time = Timestamp::try_from_unix_ms(1_767_225_600_000).unwrap();
    let position = |sequence| Position { entry_id: EntryId { time, sequence }, hash: [7; 8] };
    (1..).zip(ids).map(|(sequence, id)| (id.parse().unwrap(), position(sequence))).collect()
}

fn account(id: &str) -> Selection {
    Selection::Account(id.parse().unwrap())
}

fn decode(text: &str, secret: &Secret, selection: &Selection) -> Result<Positions, InvalidToken> {
    Token::parse(text)?.positions("bank", secret, selection)
}

/// A token of version 1, which anybody can make.
fn unsealed(selection: &Selection, rows: &[u8]) -> String {
    let body = [&[VERSION_UNSEALED][..], &digest(&[b"bank"]), &selection_digest(selection), rows].concat();
    BASE64_URL_SAFE_NO_PAD.encode([&body[..], &digest(&[&body])].concat())
}

#[test]
fn a_token_round_trips() {
    let secret = secret();
    for ids in [&[][..], &["123"], &["a", "b", "c.d:e_f-g"]] {
        let positions = positions(ids);
        let text = Token::encode("bank", &secret, &Selection::Bank, &positions);
        assert!(Token::parse(&text).unwrap().is_sealed());
        assert_eq!(decode(&text, &secret, &Selection::Bank), Ok(positions));
    }
}

#[test]
fn the_token_of_another_watch_has_an_error_of_its_own() {
    let secret = secret();
    let text = Token::encode("bank", &secret, &account("a"), &positions(&["a"]));
    let token = Token::parse(&text).unwrap();
    assert!(token.positions("bank", &secret, &account("a")).is_ok());
    assert_eq!(token.positions("bench", &secret, &account("a")), Err(InvalidToken::OtherBank));
    for selection in [account("b"), Selection::Owner("a".parse().unwrap()), Selection::Bank] {
        let error = token.positions("bank", &secret, &selection);
        assert_eq!(error, Err(InvalidToken::OtherSelection), "{selection:?}");
    }
}

#[test]
fn garbage_and_damaged_tokens_are_refused() {
    let secret = secret();
    let selection = account("a");
    let text = Token::encode("bank", &secret, &selection, &positions(&["a"]));
    // An altered version is unknown, and with an altered digest of the bank it is another bank.
    let is_expected = |result: &Result<Positions, InvalidToken>| {
        let Err(error) = result else { return false };
        matches!(error, Malformed | Damaged | OtherBank | Version { .. })
    };
    for end in 0..text.len() {
        let result = decode(&text[..end], &secret, &selection);
        assert!(matches!(result, Err(InvalidToken::Malformed | InvalidToken::Damaged)), "{end}: {result:?}");
    }
    for index in 0..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let result = decode(std::str::from_utf8(&altered).unwrap(), &secret, &selection);
        assert!(is_expected(&result), "{index}: {result:?}");
    }
    for garbage in ["", "x", "not a token", "é", "AAAA", "AAAAAAAAAAAA", "====", &"A".repeat(60_000)] {
        let result = decode(garbage, &secret, &selection);
        assert!(is_expected(&result), "{garbage:?}: {result:?}");
    }
}

#[test]
fn only_the_bank_can_seal_a_token() {
    let secret = secret();
    let selection = account("a");
    let positions = positions(&["a"]);
    for other in [self::secret(), self::secret()] {
        let text = Token::encode("bank", &other, &selection, &positions);
        assert_eq!(decode(&text, &secret, &selection), Err(InvalidToken::Damaged));
    }
    // With a checksum that anybody can calculate.
    let sealed = Token::encode("bank", &secret, &selection, &positions);
    let mut body = BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap();
    body.truncate(body.len() - SEAL_BYTES);
    let digest = Sha256::digest(&body);
    let text = BASE64_URL_SAFE_NO_PAD.encode([&body[..], &digest].concat());
    assert_eq!(decode(&text, &secret, &selection), Err(InvalidToken::Damaged));
}

#[test]
fn forged_positions_are_refused_or_not_trusted() {
    let secret = secret();
    let selection = account("a");
    let row = |sequence: u64| [&[1][..], b"a", &[0; 8], &sequence.to_be_bytes(), &[0; 8]].concat();
    for (rows, count) in [(vec![], 0), (row(1), 1)] {
        let token = Token::parse(&unsealed(&selection, &rows)).unwrap();
        assert!(!token.is_sealed());
        assert_eq!(token.positions("bank", &secret, &selection).unwrap().len(), count);
    }
    for rows in [row(0), row(u64::MAX), [row(1), row(2)].concat(), row(1)[..5].to_vec(), vec![200, b'a']] {
        let error = decode(&unsealed(&selection, &rows), &secret, &selection);
        assert_eq!(error, Err(InvalidToken::UnknownEntries), "{rows:?}");
    }
    let newer = BASE64_URL_SAFE_NO_PAD.encode([3; 60]);
    assert_eq!(decode(&newer, &secret, &selection), Err(InvalidToken::Version { version: 3 }));
}

#[test]
fn the_longest_token_has_the_documented_length() {
    let ids: Vec<_> = (0..50).map(|number| format!("{number:064}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let text = Token::encode("bank", &secret(), &Selection::Bank, &positions(&ids));
    assert!(text.len() <= token_bytes_max(50) && text.len() + 4 > token_bytes_max(50), "{}", text.len());
}
