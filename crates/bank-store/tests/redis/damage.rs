//! Keys that were changed by hand are reported as damage, and nothing else is touched.

use std::sync::Arc;

use bank_domain::Command;
use bank_store::{
    AccountsQuery, EntriesQuery, Outcome, Store, StoreError,
    conformance::{Bank, commands::*},
    redis::RedisOptions,
};

use super::server::{self, Server, connect};

struct Scene {
    server: Arc<Server>,
    options: RedisOptions,
    bank: Bank,
}

/// A bank with the accounts `good`, `fine` and `bad`, of 100 each.
async fn scene() -> Scene {
    let server = server::shared().await;
    let options = server.options();
    let bank = Bank::new(Arc::new(connect(&options).await));
    for account_id in ["good", "fine", "bad"] {
        bank.open_with(account_id, 100).await;
    }
    Scene { server, options, bank }
}

impl Scene {
    fn account_key(&self, account_id: &str) -> String {
        self.server.key(&self.options, &format!(":account:{account_id}"))
    }

    fn entries_key(&self, account_id: &str) -> String {
        self.server.key(&self.options, &format!(":entries:{account_id}"))
    }

    /// Everything of this bank but its request records, as digests that Redis makes.
    fn everything(&self) -> String {
        let keys = self.server.run(&["KEYS", &format!("{}:*", self.options.key_prefix)]);
        let mut keys: Vec<_> = keys.lines().filter(|key| !key.contains(":requests:")).collect();
        keys.sort_unstable();
        let digests = self.server.run(&[&["DEBUG", "DIGEST-VALUE"], &*keys].concat());
        format!("{keys:?} {digests}")
    }

    /// Commits proposals that were decided before the damage: each is reported as damaged, and others of the same
    /// commit are applied.
    async fn assert_damage_is_contained(&self, damage: impl FnOnce(&Self)) {
        let commands: [Command; 5] = [
            deposit("bad", 1),
            withdraw("bad", 1),
            transfer("bad", "good", 1),
            transfer("good", "bad", 1),
            freeze("bad"),
        ];
        let mut proposals = Vec::new();
        for command in commands {
            proposals.push(self.bank.propose(command).await);
        }
        damage(self);
        for proposal in &proposals {
            let before = self.everything();
            let fine = self.bank.propose(deposit("fine", 1)).await;
            let outcomes = self.store().commit(std::slice::from_ref(proposal)).await.unwrap().outcomes;
            assert!(matches!(outcomes[0], Outcome::Damaged(_)), "{outcomes:?}");
            assert_eq!(self.everything(), before, "{proposal:?}");

            // In one commit with what does not touch it, on either side.
            let commit = [fine, proposal.clone(), self.bank.propose(withdraw("good", 200)).await];
            let outcomes = self.store().commit(&commit).await.unwrap().outcomes;
            assert_eq!(outcomes[0], Outcome::Applied);
            assert!(matches!(outcomes[1], Outcome::Damaged(_)), "{outcomes:?}");
            let is_through = proposal.decided_on.iter().any(|(id, _)| id.as_str() == "good");
            assert!(is_through == (outcomes[2] == Outcome::Conflict), "{outcomes:?}");
        }
        // Damage leaves no request record: once repaired, the same request can be carried out.
        assert_eq!(self.bank.balance("good").await, 100);
        assert_eq!(self.bank.balance("fine").await, 105);
        self.bank.apply(transfer("good", "fine", 1)).await;
    }

    fn store(&self) -> &dyn Store {
        &**self.bank.store()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_key_of_another_type_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.account_key("bad");
            scene.server.run(&["SET", &key, "what is this"]);
        })
        .await;
    let error = scene.store().load(&[id("good"), id("bad")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    // In a list, other accounts are not affected, and fill the page.
    assert_eq!(scene.bank.all_accounts(None, 10).await.len(), 2);
    assert_eq!(scene.bank.accounts(&AccountsQuery { owner: None, after: None, limit: 2 }).await.len(), 2);
    let error = scene.store().entries(&EntriesQuery::all(id("bad"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_key_of_another_type_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.entries_key("bad");
            scene.server.run(&["SET", &key, "what is this"]);
        })
        .await;
    let error = scene.store().entries(&EntriesQuery::all(id("bad"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extra_entry_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.entries_key("bad");
            scene.server.run(&["XADD", &key, "1767225600000-3", "entry", "deposit"]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_entry_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.entries_key("bad");
            scene.server.run(&["XDEL", &key, "1767225600000-2"]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_history_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.entries_key("bad");
            scene.server.run(&["DEL", &key]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_from_the_future_is_reported() {
    let scene = scene().await;
    scene
        .assert_damage_is_contained(|scene| {
            let key = scene.entries_key("bad");
            scene.server.run(&["XDEL", &key, "1767225600000-2"]);
            scene.server.run(&["XADD", &key, "1767225699999-2", "entry", "deposit"]);
        })
        .await;
}

/// A removed entry leaves its id behind, and Redis accepts no earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_entry_from_the_future_is_reported() {
    let scene = scene().await;
    let key = scene.entries_key("bad");
    scene.server.run(&["XADD", &key, "1767225699999-3", "entry", "deposit"]);
    scene.server.run(&["XDEL", &key, "1767225699999-3"]);
    let before = scene.everything();
    for command in [deposit("bad", 1), transfer("bad", "good", 1), transfer("good", "bad", 1)] {
        let outcome = scene.bank.submit(command).await;
        assert!(matches!(outcome, Outcome::Damaged(_)), "{outcome:?}");
        // The other side of a transfer was written, and is removed again.
        assert_eq!(scene.everything(), before);
    }
    scene.bank.later(1).apply(transfer("good", "fine", 1)).await;
    assert_eq!((scene.bank.balance("good").await, scene.bank.balance("bad").await), (99, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_account_is_not_opened_over_its_history() {
    let scene = scene().await;
    let key = scene.account_key("bad");
    scene.server.run(&["DEL", &key]);
    let before = scene.everything();
    assert_eq!(scene.store().load(&[id("bad")]).await.unwrap(), [None]);
    let opening = scene.bank.propose(open("bad").owned_by("alice")).await;
    assert!(opening.decision.is_ok());
    let outcome = scene.store().commit(&[opening]).await.unwrap().outcomes.remove(0);
    assert!(matches!(outcome, Outcome::Damaged(_)), "{outcome:?}");
    assert_eq!(scene.everything(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_key_of_another_type_is_reported() {
    let scene = scene().await;
    let owner_key = format!("{}:{{39}}:owner:alice", scene.options.key_prefix);
    scene.server.run(&["SET", &owner_key, "what is this"]);
    let before = scene.everything();
    let mut view = scene.bank.view(&["good"]).await;
    let proposals = [
        view.propose(open("new").owned_by("alice")),
        view.propose(transfer("good", "new", 1)),
        view.propose(open("other").owned_by("bob")),
    ];
    let outcomes = scene.store().commit(&proposals[..2]).await.unwrap().outcomes;
    assert!(matches!(outcomes[0], Outcome::Damaged(_)), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Conflict);
    assert_eq!(scene.everything(), before);
    assert_eq!(scene.store().commit(&proposals).await.unwrap().outcomes[2], Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_records_of_another_type_stop_every_commit_of_the_partition() {
    let scene = scene().await;
    let before = scene.bank.account("bad").await;
    let account_key = scene.account_key("bad");
    let (partition, _) = account_key.split_once(":account:").unwrap();
    let records = scene.server.run(&["KEYS", &format!("{partition}:requests:*")]);
    scene.server.run(&["SET", &records, "what is this"]);
    // It cannot be known whether a request has been carried out, so nothing is done.
    let proposals =
        [scene.bank.propose(deposit("fine", 1)).await, scene.bank.propose(deposit("bad", 1)).await];
    let error = scene.store().commit(&proposals).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert_eq!(scene.bank.account("bad").await, before);
    assert_eq!(scene.bank.balance("fine").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_fields_are_reported_by_name() {
    for (field, value) in [
        ("balance", "12.50"),
        ("balance", "9223372036854775808"),
        ("newest", "1767225600000--1"),
        ("newest", "1767225600000-0"),
        ("currency", "usd"),
        ("state", "open"),
        ("type", "gold"),
        ("owner", "two words"),
        ("opened_at", "yesterday"),
        ("label:Branch", "x"),
    ] {
        let scene = scene().await;
        let key = scene.account_key("bad");
        scene.server.run(&["HSET", &key, field, value]);
        let StoreError::Corrupt(message) = scene.store().load(&[id("bad")]).await.unwrap_err() else {
            panic!("{field} = {value}");
        };
        let name = field.split(':').next().unwrap();
        assert!(message.contains("account bad") && message.contains(name), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_record_whose_entry_is_missing_is_reported() {
    let scene = scene().await;
    scene.bank.apply(named("r", deposit("bad", 1))).await;
    scene.bank.apply(deposit("bad", 1)).await;
    let key = scene.entries_key("bad");
    scene.server.run(&["XDEL", &key, "1767225600000-3"]);
    let before = scene.everything();
    let again = scene.bank.propose(named("r", deposit("bad", 1))).await;
    let outcome = scene.store().commit(&[again]).await.unwrap().outcomes.remove(0);
    assert!(matches!(outcome, Outcome::Damaged(_)), "{outcome:?}");
    assert_eq!(scene.everything(), before);
}

/// A Redis that lost its last writes, by a crash or a failover, counts the same versions again. A
/// decision on what is lost took money that was not there, when versions alone were compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_on_lost_entries_conflicts() {
    let Scene { server, options, bank } = scene().await;
    let stale = bank.propose(withdraw("bad", 100)).await;
    assert_eq!(bank.account("bad").await.version, 2);

    for key in ["account", "entries"] {
        let key = server.key(&options, &format!(":{key}:bad"));
        server.run(&["DEL", &key]);
    }
    bank.open_with("bad", 5).await;
    assert_eq!(bank.account("bad").await.version, 2, "as many entries as before, of other amounts");

    let committed = bank.commit(std::slice::from_ref(&stale)).await;
    assert_eq!(committed.outcomes, [Outcome::Conflict]);
    assert_eq!(bank.balance("bad").await, 5);
}

/// A setting that differs from server to server, or changes, forgot what had been recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_recognized_when_the_retention_changes() {
    let Scene { server: _server, options, bank } = scene().await;
    bank.apply(named("once", deposit("good", 1))).await;
    for hours in [23, 48, 24 * 30] {
        let request_retention = std::time::Duration::from_hours(hours);
        let options = RedisOptions { request_retention, ..options.clone() };
        let other = Bank::new(Arc::new(connect(&options).await));
        let outcome = other.submit(named("once", deposit("good", 1))).await;
        assert!(matches!(outcome, Outcome::Replayed(_)), "{outcome:?}");
    }
    assert_eq!(bank.balance("good").await, 101);
    let request_retention = std::time::Duration::from_hours(24 * 32);
    let error = server::connect_error(&RedisOptions { request_retention, ..options }).await;
    assert!(error.to_string().contains("2678400 at most"), "{error}");
}

/// A user who may run some commands of the script and not others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_stops_half_way_has_an_unknown_outcome() {
    let server = Arc::new(Server::start(&[]));
    server.run(&["ACL", "SETUSER", "teller", "on", ">s3cret", "~*", "+@all", "-sadd"]);
    let url = format!("redis://teller:s3cret@{}", server.address());
    let options = RedisOptions { url: bank_store::redis::RedisUrl::new(url), ..server.options() };
    let bank = Bank::new(Arc::new(connect(&options).await));
    let proposal = bank.propose(open("good")).await;
    let error = bank.store().commit(std::slice::from_ref(&proposal)).await.unwrap_err();
    assert!(matches!(&error, StoreError::OutcomeUnknown(why) if why.contains("half way")), "{error}");
}
