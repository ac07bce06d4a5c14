//! Invalid resume tokens, and those of other watches.

use bank_proto::v1;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use super::{ENTRY_LOST, SOON};
use crate::support::{
    Bank, Redis, admin,
    api::{Client, connect, deposit, failed, savings},
};

/// The length of the digests in a token.
const DIGEST_BYTES: usize = 8;
/// The length of the seal at the end of a token.
const SEAL_BYTES: usize = 32;

fn request(account_id: &str, resume_token: &str) -> v1::WatchTransactionsRequest {
    v1::WatchTransactionsRequest {
        account_id: account_id.to_owned(),
        resume_token: resume_token.to_owned(),
        ..Default::default()
    }
}

async fn token(client: &mut Client, account_id: &str) -> String {
    let mut replies = client.watch_transactions(request(account_id, "")).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap().resume_token
}

/// The error of an invalid token.
async fn complaint(client: &mut Client, account_id: &str, token: &str) -> String {
    let mut replies = client.watch_transactions(request(account_id, token)).await.unwrap().into_inner();
    let error = failed(replies.message().await);
    assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{error:?}");
    let violations = &error.details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "resume_token");
    violations[0].description.clone()
}

#[tokio::test]
async fn a_resume_token_is_only_valid_for_its_own_watch_and_bank() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis_with(&redis, &SOON).await;
    let another = Bank::on_redis_with(&redis, &["--set", "store.redis.key_prefix=another"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let mut other = connect(&another.endpoint()).await;
    for client in [&mut client, &mut other] {
        for account_id in ["a", "b"] {
            client.create_account(savings(account_id)).await.unwrap();
        }
    }
    let (of_a, of_all) = (token(&mut client, "a").await, token(&mut client, "").await);
    for (account_id, token) in [("a", &of_a), ("", &of_all)] {
        let mut replies = client.watch_transactions(request(account_id, token)).await.unwrap().into_inner();
        assert_eq!(&replies.message().await.unwrap().unwrap().resume_token, token);
    }

    let else_where =
        "belongs to another watch; send it with the account_id and owner of the original request";
    for (account_id, token) in [("b", &of_a), ("", &of_a), ("a", &of_all)] {
        assert_eq!(complaint(&mut client, account_id, token).await, else_where);
    }
    assert_eq!(complaint(&mut other, "a", &of_a).await, "belongs to another bank");
    let cut_off = "is truncated or altered; use resume_token of a reply unchanged";
    assert_eq!(complaint(&mut client, "a", &of_a[..of_a.len() - 4]).await, cut_off);
    let altered = format!("{}AAAA", &of_a[..of_a.len() - 4]);
    assert_eq!(complaint(&mut client, "a", &altered).await, cut_off);
    let none = "is not a resume token; use resume_token of a reply";
    for garbage in ["garbage!", "x", "AAAA", " "] {
        assert_eq!(complaint(&mut client, "a", garbage).await, none, "{garbage:?}");
    }
}

/// The same token in the earlier version without a seal. Anybody can make one, with any entry in it.
fn unsealed(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes.truncate(bytes.len() - SEAL_BYTES);
    bytes[0] = 1;
    change(&mut bytes);
    let mut hash = Sha256::new();
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(&bytes);
    bytes.extend(&hash.finalize()[..DIGEST_BYTES]);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_forged_token_is_invalid_and_not_reported_as_data_loss() {
    let bank = Bank::memory_with(&SOON).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b"] {
        client.create_account(savings(account_id)).await.unwrap();
    }
    let (of_a, of_all) = (token(&mut client, "a").await, token(&mut client, "").await);
    let unfounded = "names entries that do not exist; watch without it, from now or from the beginning";
    let another_hash = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let a_later_sequence = |bytes: &mut Vec<u8>| {
        let place = bytes.len() - 2 * DIGEST_BYTES;
        bytes[place..][..8].copy_from_slice(&1_000_u64.to_be_bytes());
    };
    let another_account = |bytes: &mut Vec<u8>| {
        let place = bytes.len() - 3 * DIGEST_BYTES - 1;
        bytes[place] = b'z';
    };
    for (account_id, token) in [("a", &of_a), ("", &of_all)] {
        for forged in [
            unsealed(token, another_hash),
            unsealed(token, a_later_sequence),
            unsealed(token, another_account),
        ] {
            assert_eq!(complaint(&mut client, account_id, &forged).await, unfounded);
        }
        // Altered, with its original seal.
        let mut altered = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
        let place = altered.len() - SEAL_BYTES - 1;
        altered[place] ^= 1;
        let altered = BASE64_URL_SAFE_NO_PAD.encode(altered);
        let cut_off = "is truncated or altered; use resume_token of a reply unchanged";
        assert_eq!(complaint(&mut client, account_id, &altered).await, cut_off);
    }
    assert!(bank.lines().iter().all(|line| line["message"] != ENTRY_LOST), "{}", bank.log());
    let metrics = admin::metrics(&bank).await;
    let ended = |code| {
        admin::value(&metrics, &format!(r#"bank_calls_total{{code="{code}",method="WatchTransactions"}}"#))
    };
    assert!(ended("InvalidArgument") > 0.0);
    let losses: Vec<_> = metrics.lines().filter(|line| line.contains("DataLoss")).collect();
    assert!(losses.iter().all(|line| line.ends_with(" 0")), "{losses:?}");
}

#[tokio::test]
async fn accepts_a_resume_token_of_an_earlier_server() {
    let bank = Bank::memory_with(&SOON).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b"] {
        client.create_account(savings(account_id)).await.unwrap();
    }
    let (of_a, of_all) = (token(&mut client, "a").await, token(&mut client, "").await);
    client.deposit(deposit("a", 1)).await.unwrap();
    for (account_id, token) in [("a", of_a), ("", of_all)] {
        let old = unsealed(&token, |_| {});
        let mut replies = client.watch_transactions(request(account_id, &old)).await.unwrap().into_inner();
        // The reply has a token of the current version.
        assert_eq!(replies.message().await.unwrap().unwrap().resume_token, token);
        let entries = replies.message().await.unwrap().unwrap().entries;
        assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2]);
    }
}
