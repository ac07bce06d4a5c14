//! Tokens that are none, or not of this watch.

use bank_proto::v1;
use tonic::Code;

use crate::{
    SOON,
    support::{
        Bank, Redis,
        api::{Client, connect, failed, savings},
    },
};

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

/// What is said of a token that will not do.
async fn complaint(client: &mut Client, account_id: &str, token: &str) -> String {
    let mut replies = client.watch_transactions(request(account_id, token)).await.unwrap().into_inner();
    let error = failed(replies.message().await);
    assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{error:?}");
    let violations = &error.details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "resume_token");
    violations[0].description.clone()
}

#[tokio::test]
async fn a_token_is_good_for_its_own_watch_in_its_own_bank_only() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis_with(&redis, &SOON).await;
    let another = Bank::on_redis_with(&redis, &["--set", "store.redis.key_prefix=another"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let mut stranger = connect(&another.endpoint()).await;
    for client in [&mut client, &mut stranger] {
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
        "is of a watch of something else; use it with the account_id and owner that it came with";
    for (account_id, token) in [("b", &of_a), ("", &of_a), ("a", &of_all)] {
        assert_eq!(complaint(&mut client, account_id, token).await, else_where);
    }
    assert_eq!(complaint(&mut stranger, "a", &of_a).await, "is of another bank");
    let cut_off = "is cut off or altered; use resume_token of a reply as it came";
    assert_eq!(complaint(&mut client, "a", &of_a[..of_a.len() - 4]).await, cut_off);
    let altered = format!("{}AAAA", &of_a[..of_a.len() - 4]);
    assert_eq!(complaint(&mut client, "a", &altered).await, cut_off);
    let none = "is not a resume token; use resume_token of a reply";
    for garbage in ["garbage!", "x", "AAAA", " "] {
        assert_eq!(complaint(&mut client, "a", garbage).await, none, "{garbage:?}");
    }
}
