//! Histories and accounts that were tampered with.

use super::*;

/// Rewrites the history of an account. `change` is Lua, and has the `entries` as a list of their ids
/// and fields; `get`, `set` and `id` read and change one.
fn rewrite(redis: &Redis, account_id: &str, change: &str) {
    let key = key(redis, "entries", account_id);
    let script = format!(
        r"
        local entries = redis.call('XRANGE', KEYS[1], '-', '+')
        local place = {{ kind = 1, amount = 2, balance = 3, request = 4 }}
        local function words(n)
            local list = {{}}
            for word in string.gmatch(entries[n][2][2], '%S+') do list[#list + 1] = word end
            return list
        end
        local function get(n, name) return name == 'hash' and entries[n][2][4] or words(n)[place[name]] end
        local function set(n, name, value)
            if name == 'hash' then entries[n][2][4] = value; return end
            local list = words(n)
            list[place[name] or #list + 1] = value
            entries[n][2][2] = table.concat(list, ' ')
        end
        local function time(n) return string.match(entries[n][1], '^(%d+)-') end
        {change}
        redis.call('DEL', KEYS[1])
        for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end
        return 'done'"
    );
    assert_eq!(redis.run(&["EVAL", &script, "1", &key]), "done");
}

fn key(redis: &Redis, kind: &str, account_id: &str) -> String {
    let keys = redis.run(&["KEYS", &format!("bank:*:{kind}:{account_id}")]);
    assert_eq!(keys.lines().count(), 1, "{keys}");
    keys
}

/// Removes an entry from a history.
fn remove(redis: &Redis, account_id: &str, sequence: i64) {
    let key = key(redis, "entries", account_id);
    let script = "local ids = {} for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do \
                  ids[#ids + 1] = entry[1] end return ids";
    let ids = redis.run(&["EVAL", script, "1", &key]);
    let id = ids.lines().find(|id| id.ends_with(&format!("-{sequence}"))).unwrap();
    assert_eq!(redis.run(&["XDEL", &key, id]), "1");
}

fn set_account(redis: &Redis, account_id: &str, field: &str, value: &str) {
    assert_eq!(redis.run(&["HSET", &key(redis, "account", account_id), field, value]), "0");
}

type Tampering = fn(&Redis, &str);

/// Changes to an account with seven entries: its opening, deposits of 10, 20 and 30, a transfer of
/// 5 to `other`, a deposit of 40, a withdrawal of 7; and the findings, with the money of the bank.
const TAMPERINGS: &[(&str, Tampering, Kind, i64)] = &[
    ("amount", |redis, id| rewrite(redis, id, "set(3, 'amount', '21')"), Kind::EntryChanged, 3),
    ("description", |redis, id| rewrite(redis, id, "set(2, 'description', 'gift')"), Kind::EntryChanged, 2),
    ("request", |redis, id| rewrite(redis, id, "set(6, 'request', '#other')"), Kind::EntryChanged, 6),
    ("time", |redis, id| rewrite(redis, id, "entries[7][1] = (time(7) + 1) .. '-7'"), Kind::EntryChanged, 7),
    (
        "amount-and-balances",
        |redis, id| {
            rewrite(
                redis,
                id,
                "set(4, 'amount', '31') for n = 4, 7 do set(n, 'balance', get(n, 'balance') + 1) end",
            );
            set_account(redis, id, "balance", "89");
        },
        Kind::EntryChanged,
        4,
    ),
    ("entry-hash", |redis, id| rewrite(redis, id, "set(4, 'hash', get(5, 'hash'))"), Kind::EntryChanged, 4),
    ("kind", |redis, id| rewrite(redis, id, "set(7, 'kind', 'interest')"), Kind::Unreadable, 7),
    ("malformed", |redis, id| rewrite(redis, id, "set(5, 'amount', 'ten')"), Kind::Unreadable, 5),
    ("removed-first", |redis, id| remove(redis, id, 1), Kind::EntryRemoved, 1),
    ("removed-middle", |redis, id| remove(redis, id, 3), Kind::EntryRemoved, 3),
    ("removed-newest", |redis, id| remove(redis, id, 7), Kind::EntryRemoved, 7),
    (
        "removed-all",
        |redis, id| assert_eq!(redis.run(&["DEL", &key(redis, "entries", id)]), "1"),
        Kind::EntryRemoved,
        1,
    ),
    (
        "removed-renumbered",
        |redis, id| {
            rewrite(
                redis,
                id,
                "table.remove(entries, 3) for n = 3, 6 do entries[n][1] = time(n) .. '-' .. n end",
            );
        },
        Kind::EntryRemoved,
        3,
    ),
    (
        "inserted-middle",
        |redis, id| {
            rewrite(
                redis,
                id,
                "local forged = cmsgpack.unpack(cmsgpack.pack(entries[3])) table.insert(entries, 3, forged) \
                 for n = 4, 8 do entries[n][1] = time(n) .. '-' .. n end set(3, 'amount', '1000')",
            );
        },
        Kind::EntryInserted,
        3,
    ),
    (
        "inserted-last",
        |redis, id| {
            let key = key(redis, "entries", id);
            redis.run(&["XADD", &key, "9999999999999-8", "entry", "deposit 5 93 #", "hash", &"x".repeat(32)]);
        },
        Kind::EntryInserted,
        8,
    ),
    (
        "swapped",
        |redis, id| rewrite(redis, id, "entries[3][2], entries[4][2] = entries[4][2], entries[3][2]"),
        Kind::EntryReordered,
        3,
    ),
    (
        "swapped-apart",
        |redis, id| rewrite(redis, id, "entries[2][2], entries[6][2] = entries[6][2], entries[2][2]"),
        Kind::EntryReordered,
        2,
    ),
    ("balance", |redis, id| set_account(redis, id, "balance", "1000088"), Kind::AccountChanged, 0),
    ("balance-below-floor", |redis, id| set_account(redis, id, "balance", "-1"), Kind::Unreadable, 0),
    ("head", |redis, id| set_account(redis, id, "hash", &"ab".repeat(32)), Kind::AccountChanged, 0),
    ("state", |redis, id| set_account(redis, id, "state", "frozen"), Kind::AccountChanged, 0),
    ("newest", |redis, id| set_account(redis, id, "newest", "1767225600000-6"), Kind::AccountChanged, 0),
    ("owner", |redis, id| set_account(redis, id, "owner", "mallory"), Kind::EntryChanged, 1),
    ("type", |redis, id| set_account(redis, id, "type", "checking"), Kind::EntryChanged, 1),
    (
        "account-removed",
        |redis, id| assert_eq!(redis.run(&["DEL", &key(redis, "account", id)]), "1"),
        Kind::AccountRemoved,
        0,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_finds_tampering_at_its_first_entry() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("other")).await.unwrap();
    for (account_id, ..) in TAMPERINGS {
        client.create_account(savings(account_id)).await.unwrap();
        for amount in [10, 20, 30] {
            client.deposit(deposit(account_id, amount)).await.unwrap();
        }
        client.transfer(transfer(account_id, "other", 5)).await.unwrap();
        client.deposit(deposit(account_id, 40)).await.unwrap();
        client.withdraw(withdraw(account_id, 7)).await.unwrap();
    }
    assert_eq!(audit(&mut client, "").await.findings, []);

    for (account_id, tamper, kind, sequence) in TAMPERINGS {
        tamper(&redis, account_id);
        if *kind == Kind::AccountRemoved {
            continue;
        }
        let audited = audit(&mut client, account_id).await;
        let found = audited.found();
        assert!(found.contains(&(account_id, *kind, *sequence)), "{account_id}: {audited:#?}");
        // Other findings can only be the money and the other side of the transfer.
        let rest = found.iter().filter(|it| **it != (*account_id, *kind, *sequence));
        for (_, kind, _) in rest {
            assert!(
                matches!(kind, Kind::MoneyUnbalanced | Kind::TransferUnmatched),
                "{account_id}: {audited:#?}"
            );
        }
        if ["description", "request", "head", "state", "owner"].contains(account_id) {
            assert_eq!(found.len(), 1, "{account_id} has its money: {audited:#?}");
        }
        assert!(audited.findings.iter().all(|it| !it.message.is_empty()));
    }
    // An audit of the whole bank finds the same in each, and that the money does not add up.
    let audited = audit(&mut client, "").await;
    for (account_id, _, kind, sequence) in TAMPERINGS {
        assert!(audited.found().contains(&(account_id, *kind, *sequence)), "{account_id}: {audited:#?}");
    }
    assert!(audited.found().contains(&("", Kind::MoneyUnbalanced, 0)), "{audited:#?}");
    assert!(!audited.summary.books[0].balanced);
    assert_eq!(usize::try_from(audited.summary.accounts_checked), Ok(TAMPERINGS.len() + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_a_broken_transfer_on_both_accounts() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b", "c"] {
        client.create_account(savings(account_id)).await.unwrap();
        client.deposit(deposit(account_id, 100)).await.unwrap();
    }
    client.transfer(transfer("a", "b", 5)).await.unwrap();
    client.transfer(transfer("b", "c", 7)).await.unwrap();

    // First the payee's entry, then the payer's: the finding names it, and what it lacks.
    rewrite(&redis, "b", "set(3, 'amount', '6')");
    let audited = audit(&mut client, "a").await;
    assert_eq!(audited.found(), [("a", Kind::TransferUnmatched, 3)]);
    assert!(audited.findings[0].message.ends_with("on account b has another amount"), "{audited:#?}");
    assert_eq!(
        audit(&mut client, "b").await.found(),
        [("", Kind::MoneyUnbalanced, 0), ("b", Kind::EntryChanged, 3), ("b", Kind::TransferUnmatched, 3)]
    );
    assert_eq!(audit(&mut client, "c").await.findings, []);

    rewrite(&redis, "b", "set(3, 'amount', '5')");
    assert_eq!(audit(&mut client, "").await.findings, []);
    remove(&redis, "b", 4);
    let audited = audit(&mut client, "c").await;
    assert_eq!(audited.found(), [("c", Kind::TransferUnmatched, 3)]);
    assert!(audited.findings[0].message.ends_with("account b has no entry of it"), "{audited:#?}");
}

/// An audit of a Redis at a time when all transfers are settled.
async fn audit_later(redis: &Redis, now_ms: i64) -> Vec<audit::Finding> {
    let options = RedisOptions {
        url: RedisUrl::new(redis.url()),
        durability: DurabilityLevel::None,
        ..RedisOptions::default()
    };
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&options).await.unwrap());
    let (sender, mut receiver) = mpsc::channel(1);
    let now = Timestamp::try_from_unix_ms(now_ms).unwrap();
    let auditing = tokio::spawn(audit::run(store, None, now, sender));
    let mut findings = Vec::new();
    while let Some(news) = receiver.recv().await {
        if let audit::News::Finding(finding) = news {
            findings.push(finding);
        }
    }
    auditing.await.unwrap().unwrap();
    findings
}

/// An account that was removed from the list is not checked. The money that it has from others is
/// reported missing once the transfer cannot be in progress any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_reports_money_missing_from_transfers() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b"] {
        client.create_account(savings(account_id)).await.unwrap();
    }
    client.deposit(deposit("a", 100)).await.unwrap();
    let receipt = client.transfer(transfer("a", "b", 30)).await.unwrap().into_inner();
    let transferred = receipt.entry.unwrap().create_time.unwrap().seconds * 1_000;
    let in_an_hour = transferred + 60 * 60 * 1_000;
    assert!(audit_later(&redis, in_an_hour).await.is_empty());

    let key = redis.run(&["KEYS", "bank:*:account:b"]).replace(":account:b", ":accounts");
    assert_eq!(redis.run(&["ZREM", &key, "b"]), "1");
    assert!(audit_later(&redis, transferred).await.is_empty(), "it may be under way");
    let findings = audit_later(&redis, in_an_hour).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    let message = findings[0].problem.to_string();
    assert_eq!(message, "transfers brought $0.30 less than they took, before the audit began");
}

/// Replaces a text by another of the same length, in the one row of the log that has it.
fn rewrite_file(path: &Path, text: &str, other: &str) {
    const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut log = transaction.open_table(LOG).unwrap();
        let found = log.iter().unwrap().find_map(|row| {
            let (position, row) = row.unwrap();
            let mut row = row.value().to_vec();
            let place = row.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
            row[place..place + text.len()].copy_from_slice(other.as_bytes());
            Some((position.value(), row))
        });
        let (position, row) = found.unwrap();
        log.insert(position, row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_names_the_first_changed_entry_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.redb");
    let mut bank = Bank::on_file(&path).await;
    let mut client = connect(&bank.endpoint()).await;
    for account_id in ["a", "b"] {
        client.create_account(savings(account_id)).await.unwrap();
        for number in 0..70 {
            let description = format!("salary {account_id}{number}.");
            client.deposit(v1::DepositRequest { description, ..deposit(account_id, 100) }).await.unwrap();
        }
    }
    assert!(bank.terminate().await.success());
    for number in [65, 3, 40] {
        rewrite_file(&path, &format!("salary b{number}."), &format!("celery b{number}."));
    }
    bank.start_again().await;
    let mut client = connect(&bank.endpoint()).await;
    let audited = audit(&mut client, "").await;
    // The opening is the first entry, the deposit of number 0 the second.
    assert_eq!(audited.found(), [("b", Kind::EntryChanged, 3 + 2)]);
    assert_eq!(audit(&mut client, "a").await.findings, []);
}
