//! Concurrent clients, each on its own connection.

use std::{sync::Arc, time::Duration};

use bank_client::{AccountType, BankClient, Currency, Error, Money, Receipt, Rejection, RetryPolicy, Route};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    history::{Action, Outcome, Recorder, Seen},
    plan::{Plan, Step},
};

/// The accounts, with their overdraft limits. Few, so that every operation meets others.
const ACCOUNTS: [(&str, i64); 4] = [("a", 0), ("b", 0), ("c", 0), ("d", 50_000)];
/// What is paid into each at first.
const OPENING_DEPOSIT: i64 = 100_000;
const TELLERS: usize = 8;
/// How often an insistent teller asks for one thing.
const ATTEMPTS_MAX: usize = 4;
/// How long a teller waits after a failure.
const PAUSE: Duration = Duration::from_millis(20);
/// How long each step may take before there are tellers.
const OPENING_TIMEOUT: Duration = Duration::from_mins(1);

/// What a teller does about an outcome that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Leaves it unknown.
    GivesUp,
    /// Asks again with the same request id, the next server in turn, and lets the client library repeat
    /// as well. All of that is one operation.
    Insists,
}

/// Opens the accounts that tellers work on, as the first operations of a recording.
pub async fn open_accounts(recorder: &Recorder, endpoint: &str) {
    let client = connect(endpoint, Manner::Insists);
    for (account, overdraft_limit) in ACCOUNTS {
        let account = account.to_owned();
        let opening = Action::Open { account: account.clone(), overdraft_limit };
        for action in [opening, Action::Deposit { account, amount: OPENING_DEPOSIT }] {
            let outcome = perform(recorder, &client, action, OPENING_TIMEOUT).await;
            assert!(matches!(outcome, Outcome::Acknowledged { .. }), "{outcome}");
        }
    }
}

/// Asks the first server for one thing, and writes it down.
pub(super) async fn perform(
    recorder: &Recorder,
    client: &BankClient,
    action: Action,
    timeout: Duration,
) -> Outcome {
    let (id, invoked) = (recorder.fresh_id(), recorder.now());
    let outcome = ask(client, &id, &action, timeout).await;
    recorder.record(id, action, 0, invoked, outcome.clone());
    outcome
}

/// Clients that work until they are stopped.
pub struct Tellers {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Tellers {
    /// Starts to work on the servers of one bank.
    pub fn start(recorder: &Arc<Recorder>, endpoints: &[String], seed: u64) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 0..TELLERS {
            let manner = if number % 2 == 0 { Manner::GivesUp } else { Manner::Insists };
            let mut teller = Teller {
                recorder: Arc::clone(recorder),
                servers: endpoints.iter().map(|endpoint| connect(endpoint, manner)).collect(),
                // By twos, so that each server has tellers of either manner.
                home: number / 2 % endpoints.len(),
                manner,
                plan: Plan::new(seed.wrapping_add(number as u64), ACCOUNTS.map(|(name, _)| name)),
            };
            let stop = stop.clone();
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    teller.step().await;
                }
            });
        }
        Self { tasks, stop }
    }

    /// Lets each finish what it is doing.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.join_all().await;
    }
}

struct Teller {
    recorder: Arc<Recorder>,
    servers: Vec<BankClient>,
    /// The server that is asked first.
    home: usize,
    manner: Manner,
    plan: Plan,
}

impl Teller {
    async fn step(&mut self) {
        let Step { pause, action, timeout } = self.plan.next();
        sleep(pause).await;
        let (id, invoked) = (self.recorder.fresh_id(), self.recorder.now());
        let (server, outcome) = self.ask(&id, &action, timeout).await;
        let has_failed = matches!(outcome, Outcome::NotDone(_) | Outcome::Unknown(_) | Outcome::Unread(_));
        self.recorder.record(id, action, server, invoked, outcome);
        if has_failed {
            sleep(PAUSE).await;
        }
    }

    /// What came of it, and which server said so.
    async fn ask(&self, id: &str, action: &Action, timeout: Duration) -> (usize, Outcome) {
        let mut server = self.home;
        let mut outcome = ask(&self.servers[server], id, action, timeout).await;
        for _ in 1..ATTEMPTS_MAX {
            if self.manner == Manner::GivesUp || !matches!(outcome, Outcome::Unknown(_)) {
                break;
            }
            server = (server + 1) % self.servers.len();
            outcome = match ask(&self.servers[server], id, action, timeout).await {
                // Not this time; an earlier attempt may have been carried out.
                Outcome::NotDone(reason) => Outcome::Unknown(reason),
                outcome => outcome,
            };
        }
        (server, outcome)
    }
}

fn connect(endpoint: &str, manner: Manner) -> BankClient {
    let policy = match manner {
        Manner::GivesUp => RetryPolicy::never(),
        Manner::Insists => RetryPolicy::default(),
    };
    BankClient::builder(endpoint).retry(policy).connect_lazy().unwrap()
}

/// Asks for one thing once, as far as it depends on us.
///
/// # Panics
/// If the answer is none that the state of the bank or a fault of its surroundings explains.
async fn ask(client: &BankClient, id: &str, action: &Action, timeout: Duration) -> Outcome {
    let request_id = id.parse().unwrap();
    let money = |minor_units: i64| Money { currency: Currency::USD, minor_units };
    let result = match action {
        Action::Open { account, overdraft_limit } => {
            let account_type =
                if *overdraft_limit == 0 { AccountType::Savings } else { AccountType::Checking };
            let mut call = client.create_account(account.as_str(), account_type).currency(Currency::USD);
            if *overdraft_limit > 0 {
                call = call.overdraft_limit(money(*overdraft_limit));
            }
            let receipt = call.request_id(request_id).timeout(timeout).await;
            receipt.map(|receipt| Outcome::Acknowledged {
                sequence: receipt.entry.sequence,
                balance: receipt.account.balance.minor_units,
            })
        }
        Action::Deposit { account, amount } => {
            let call = client.deposit(account.as_str(), money(*amount));
            call.request_id(request_id).timeout(timeout).await.map(acknowledged)
        }
        Action::Withdraw { account, amount } => {
            let call = client.withdraw(account.as_str(), money(*amount));
            call.request_id(request_id).timeout(timeout).await.map(acknowledged)
        }
        Action::Transfer { from, to, amount } => {
            let call = client.transfer(Route { from: from.as_str(), to: to.as_str() }, money(*amount));
            call.request_id(request_id).timeout(timeout).await.map(acknowledged)
        }
        Action::GetBalance { account } => {
            let found = client.balance(account.as_str()).timeout(timeout).await;
            found.map(|found| Outcome::Balance(found.balance.minor_units))
        }
        Action::GetAccount { account } => {
            let found = client.account(account.as_str()).timeout(timeout).await;
            found.map(|found| Outcome::Accounts(vec![seen(found)]))
        }
        Action::ListAccounts => {
            let page = client.accounts().timeout(timeout).await;
            page.map(|page| {
                assert_eq!(page.next_page_token, None, "the accounts fit on one page");
                Outcome::Accounts(page.items.into_iter().map(seen).collect())
            })
        }
    };
    result.unwrap_or_else(|error| failed(action, error))
}

fn acknowledged(receipt: Receipt) -> Outcome {
    Outcome::Acknowledged { sequence: receipt.entry.sequence, balance: receipt.balance.minor_units }
}

fn seen(account: bank_client::Account) -> Seen {
    Seen {
        account: account.account_id.to_string(),
        version: account.version,
        balance: account.balance.minor_units,
    }
}

fn failed(action: &Action, error: Error) -> Outcome {
    let is_read =
        matches!(action, Action::GetBalance { .. } | Action::GetAccount { .. } | Action::ListAccounts);
    let reason = error.to_string();
    match error {
        Error::Rejected { rejection: Rejection::InsufficientFunds { balance, available, .. }, .. } => {
            Outcome::Rejected { balance: balance.minor_units, available: available.minor_units }
        }
        error if is_read && error.is_retryable() => Outcome::Unread(reason),
        error if error.outcome_unknown() => Outcome::Unknown(reason),
        Error::Unavailable { .. } | Error::Overloaded { .. } => Outcome::NotDone(reason),
        error => panic!("{action}: {error:?}"),
    }
}
