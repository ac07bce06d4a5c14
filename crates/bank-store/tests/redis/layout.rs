//! The layout, as `redis-cli` shows it.

use std::sync::Arc;

use bank_domain::interest::{DateRange, Terms};
use bank_store::{
    conformance::{Bank, commands::*},
    redis::{RedisOptions, RedisUrl},
};

use super::server::{self, Server, connect};

/// A bank under its usual name, in a database of its own.
async fn bank_in(server: &Server, database: &str) -> Bank {
    let options = RedisOptions {
        url: RedisUrl::new(format!("{}/{database}", server.url())),
        key_prefix: "bank".to_owned(),
        partitions: 1_024,
        ..server.options()
    };
    Bank::new(Arc::new(connect(&options).await))
}

/// The fields of a hash, in the order of their names.
fn fields(server: &Server, database: &str, key: &str) -> Vec<(String, String)> {
    let answer = server.run_in(database, &["HGETALL", key]);
    let lines: Vec<_> = answer.lines().map(str::to_owned).collect();
    let mut fields: Vec<_> = lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    fields.sort();
    fields
}

/// The entries of a stream, with the bytes of each hash as digits: the id, names and values, one
/// after another.
fn entries(server: &Server, database: &str, key: &str) -> Vec<String> {
    let script = r"
        local lines = {}
        for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
            lines[#lines + 1] = entry[1]
            for i = 1, #entry[2], 2 do
                local name, value = entry[2][i], entry[2][i + 1]
                if name == 'hash' then
                    value = string.gsub(value, '.', function(c) return string.format('%02x', string.byte(c)) end)
                end
                lines[#lines + 1] = name
                lines[#lines + 1] = value
            end
        end
        return lines";
    server.run_in(database, &["EVAL", script, "1", key]).lines().map(str::to_owned).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_entries_are_legible() {
    let server = server::shared().await;
    let bank = bank_in(&server, "1").await;
    let opening = open("123").checking(50_000).owned_by("alice").labelled("branch", "Zürich 8");
    bank.apply(named("{}/\"\\", opening)).await;
    bank.apply(open("456")).await;
    let bank = bank.later(1);
    bank.apply(named("r2", described(deposit("123", 100_000), "Loyer de février, 12 €"))).await;
    bank.apply(withdraw("123", 2_500)).await;
    bank.later(1).apply(named("r3", transfer("123", "456", 500))).await;
    let half_year = DateRange::parse("2026-01-01", "2026-07-02").unwrap();
    bank.later(2).apply(interest("123", Terms::new("2.5".parse().unwrap()), half_year.into())).await;
    bank.later(2).apply(limit("123", 0)).await;
    bank.later(3).apply(freeze("123")).await;
    let history = bank.history("123").await;
    let hash = |place: usize| ["hash".to_owned(), history[place].hash.to_string()];

    assert_eq!(
        fields(&server, "1", "bank:{795}:account:123"),
        pairs(&[
            ("balance", "98209"),
            ("currency", "USD"),
            ("hash", &history[6].hash.to_string()),
            ("label:branch", "Zürich 8"),
            ("newest", "1767225600004-7"),
            ("opened_at", "1767225600000"),
            ("overdraft_limit", "0"),
            ("owner", "alice"),
            ("state", "frozen"),
            ("type", "checking"),
        ])
    );
    let expected = [
        ["1767225600000-1", "entry", r#"account_opened 0 0 50000 #{}/"\"#],
        ["1767225600001-2", "entry", "deposit 100000 100000 #r2 Loyer de février, 12 €"],
        ["1767225600001-3", "entry", "withdrawal -2500 97500 #"],
        ["1767225600002-4", "entry", "transfer_out -500 97000 456 #r3"],
        [
            "1767225600003-5",
            "entry",
            "interest 1209 98209 2.5 act_365_fixed simple half_even 2026-01-01/2026-07-02 #",
        ],
        ["1767225600003-6", "entry", "overdraft_limit_set 0 98209 0 #"],
        ["1767225600004-7", "entry", "account_frozen 0 98209 #"],
    ];
    let expected: Vec<_> = (0..)
        .zip(expected)
        .flat_map(|(place, words)| words.map(str::to_owned).into_iter().chain(hash(place)))
        .collect();
    assert_eq!(entries(&server, "1", "bank:{795}:entries:123"), expected);
    // The other side names its source and its transaction.
    let other_side = bank.newest("456").await;
    assert_eq!(
        entries(&server, "1", "bank:{828}:entries:456")[5..],
        [
            ["1767225600002-2", "entry", "transfer_in 500 500 123 123/1767225600002-4 #r3"].as_slice(),
            &["hash", &other_side.hash.to_string()],
        ]
        .concat()
    );
    assert_eq!(server.run_in("1", &["ZRANGE", "bank:{795}:accounts", "0", "-1"]), "123");
    assert_eq!(server.run_in("1", &["ZRANGE", "bank:{999}:owner:alice", "0", "-1"]), "123");
    let meta = fields(&server, "1", "bank:{0}:meta");
    assert_eq!(
        meta.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["bank_id", "committed_at", "copies", "layout", "partitions", "request_window_seconds", "secret"]
    );
    let values: Vec<_> = meta[2..6].iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["complete", "4", "1024", "86400"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_records_are_legible_and_in_windows() {
    let server = server::shared().await;
    let bank = bank_in(&server, "2").await;
    bank.apply(named("opened", open("123"))).await;
    let refused = bank.called_by("teller 7").propose(named("refused", withdraw("123", 5))).await;
    bank.commit_one(&refused).await;

    let keys = server.run_in("2", &["KEYS", "bank:{795}:requests:*"]);
    let (_, window) = keys.rsplit_once(':').unwrap();
    let window: u64 = window.parse().unwrap();
    let now: u64 = server.run(&["TIME"]).lines().next().unwrap().parse().unwrap();
    let records = fields(&server, "2", &keys);
    let shapes: Vec<_> = records
        .iter()
        .map(|(field, record)| {
            let (record, recorded_at) = record.rsplit_once(' ').unwrap();
            let [attempt, fingerprint, outcome] = record.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{record:?}");
            };
            let recorded_at: u64 = recorded_at.parse().unwrap();
            assert!((now - 60..=now).contains(&recorded_at), "{recorded_at} is not {now}");
            assert_eq!((attempt.len(), fingerprint.len()), (16, 16));
            (field.as_str(), outcome)
        })
        .collect();
    let rejection = r#"{"reason":"insufficient_funds","account_id":"123","requested":{"currency":"USD","minor_units":5},"available":{"currency":"USD","minor_units":0},"balance":{"currency":"USD","minor_units":0}}"#;
    assert_eq!(shapes, [("123 opened ", "1767225600000-1"), ("123 refused teller 7", rejection)]);

    let day = 24 * 60 * 60;
    assert_eq!(window, now / day);
    assert_eq!(server.run_in("2", &["EXPIRETIME", &keys]), "-1");
    assert_eq!(server.run_in("2", &["SMEMBERS", "bank:{795}:requests"]), window.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_has_no_other_kinds_of_keys() {
    let server = server::shared().await;
    let bank = bank_in(&server, "3").await;
    for number in 0..40 {
        let account_id = format!("account-{number}");
        bank.apply(open(&account_id).owned_by("alice")).await;
        bank.apply(deposit(&account_id, 1)).await;
    }
    let mut kinds: Vec<_> = server
        .run_in("3", &["KEYS", "*"])
        .lines()
        .map(|key| {
            let (_, rest) = key.split_once("bank:").unwrap();
            let kind = rest.split_once("}:").map_or(rest, |(_, rest)| rest);
            kind.split(':').next().unwrap().to_owned()
        })
        .collect();
    kinds.sort();
    let count = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
    assert_eq!((count("account"), count("entries"), count("meta"), count("owner")), (40, 40, 1_025, 1));
    assert_eq!(kinds.len(), 1_106 + count("accounts") + count("requests"), "{kinds:?}");
}
