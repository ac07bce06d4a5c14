//! Cases that are written as scripts.
//!
//! A script is a section of a file in `cases/scripts`, with one step a line:
//!
//! ```text
//! account 1 100            opens an account with money
//! apply deposit 1 5        decides and commits a request, which must be applied
//! view                     reads the accounts; the next commit is decided on this view
//! commit                   decides the requests that follow, each on the state after those before it, and commits them;
//!                          `commit now` keeps the view for the next commit; `commit in parts` first commits the first
//!                          proposal, then the first two, and so on
//!   pay: transfer 1 2 60 "rent" -> applied        request id, command, description, expected outcome
//!   | withdraw 1 5 -> abandoned                   adjacent lines with a bar are a chain
//!   unrecorded withdraw 1 900 -> rejected         its rejection leaves no record
//!   unsent deposit 1 5                            is decided, but not committed
//!   repeat -> applied                             the previous proposal
//!   retry -> replayed                             the previous request, decided in another attempt
//! resend                   commits the last proposals again: the outcomes are the same, and nothing changes
//! later 1000               moves the clock by milliseconds; `at 0` sets it
//! as alice                 sets the caller
//! balances 1=40 2=60       checks the balances
//! history 1 0 100 -60      checks the amounts of all entries
//! owned alice 1 2          checks the accounts of an owner
//! ```
//!
//! `open` takes options: `owner=alice overdraft=5 currency=JPY label:branch=x`.
//!
//! An expected outcome is `applied` (a plan), `rejected` (a rejection), `replayed` (with the outcome that the request had
//! before), `reused`, `conflict`, `conflict of a rejection` or `abandoned`. After each commit its effects are checked, and
//! it is sent again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bank_domain::{
    Account, AccountId, Change, Command, Entry, Plan,
    interest::{Period, Terms},
};

use super::{
    bank::{Bank, View, new_attempt},
    commands::{
        Request, close, deposit, described, freeze, id, interest, limit, named, open, transfer, unfreeze,
        unrecorded, withdraw,
    },
};
use crate::{Outcome, Proposal, RecordedOutcome, RequestKey};

const FILES: [(&str, &str); 5] = [
    ("chains", include_str!("cases/scripts/chains.txt")),
    ("commits", include_str!("cases/scripts/commits.txt")),
    ("movements", include_str!("cases/scripts/movements.txt")),
    ("readings", include_str!("cases/scripts/readings.txt")),
    ("requests", include_str!("cases/scripts/requests.txt")),
];

/// The scripts of a file, each with its name.
pub fn scripts(file: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (_, text) = FILES.into_iter().find(|(name, _)| *name == file).unwrap();
    text.split("\n== ").skip(1).filter_map(|section| section.split_once('\n'))
}

/// Runs a script on an empty bank.
#[expect(clippy::print_stderr, reason = "the test harness shows it if the script fails")]
pub async fn run((name, script): (&str, &str), bank: Bank) {
    eprintln!("{name}");
    let mut run =
        Run { bank, view: None, accounts: BTreeSet::new(), recorded: HashMap::new(), sent: Vec::new() };
    let mut lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            block.push(line.trim());
        }
        run.step(line, &block).await;
    }
}

struct Run {
    bank: Bank,
    view: Option<View>,
    /// All accounts so far.
    accounts: BTreeSet<AccountId>,
    /// The outcome of every request that has a record.
    recorded: HashMap<RequestKey, RecordedOutcome<Arc<Entry>>>,
    /// The last commit, but for those of `apply`.
    sent: Vec<(Proposal, Outcome)>,
}

impl Run {
    async fn step(&mut self, line: &str, block: &[&str]) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "account" => {
                let (account_id, amount) = rest.split_once(' ').unwrap();
                self.bank.open_with(account_id, number(amount)).await;
                self.accounts.insert(id(account_id));
            }
            "apply" => drop(self.commit(None, &[format!("{rest} -> applied").as_str()], false).await),
            "view" => self.view = Some(self.current_view().await),
            "commit" => {
                let view = if rest == "now" { None } else { self.view.take() };
                self.sent = self.commit(view, block, rest == "in parts").await;
            }
            "resend" => self.resend(&self.sent).await,
            "later" => self.bank = self.bank.later(number(rest)),
            "at" => self.bank = self.bank.at(number(rest)),
            "as" => self.bank = self.bank.called_by(rest),
            "owned" => {
                let (owner, expected) = rest.split_once(' ').unwrap_or((rest, ""));
                for page_size in [1, 2, 3, 10] {
                    let accounts = self.bank.all_accounts(Some(owner), page_size).await;
                    let found: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
                    assert_eq!(found.join(" "), expected, "{line}");
                }
            }
            "balances" => {
                for expected in rest.split(' ') {
                    let (account_id, balance) = expected.split_once('=').unwrap();
                    assert_eq!(self.bank.balance(account_id).await, number(balance), "{line}");
                }
            }
            "history" => {
                let (account_id, amounts) = rest.split_once(' ').unwrap_or((rest, ""));
                let history = self.bank.history(account_id).await;
                let found = history.iter().map(|entry| entry.amount.minor_units.to_string());
                assert_eq!(found.collect::<Vec<_>>().join(" "), amounts, "{line}");
            }
            _ => panic!("unknown step: {line}"),
        }
    }

    /// Commits the requests of a block, and returns the proposals with their outcomes.
    async fn commit(
        &mut self,
        view: Option<View>,
        block: &[&str],
        in_parts: bool,
    ) -> Vec<(Proposal, Outcome)> {
        let mut view = match view {
            Some(view) => view,
            None => self.current_view().await,
        };
        let mut proposals: Vec<Proposal> = Vec::new();
        let mut expected = Vec::new();
        for lines in block.chunk_by(|line, next| line.starts_with('|') && next.starts_with('|')) {
            let mut requests = Vec::new();
            for line in lines {
                let (text, outcome) = line.split_once(" -> ").unwrap_or((*line, ""));
                match (text.trim_start_matches("| "), outcome) {
                    ("repeat", _) => proposals.push(proposals.last().unwrap().clone()),
                    ("retry", _) => {
                        let previous = proposals.last().unwrap().clone();
                        proposals.push(Proposal { attempt: new_attempt(), ..previous });
                    }
                    (text, "") => drop(view.propose(request(text.strip_prefix("unsent ").unwrap()))),
                    (text, _) => requests.push(request(text)),
                }
                expected.extend(Some((*line, outcome)).filter(|_| !outcome.is_empty()));
            }
            if !requests.is_empty() {
                proposals.extend(view.propose_chain(requests));
            }
        }
        for part in (1..proposals.len()).filter(|_| in_parts) {
            self.bank.commit(&proposals[..part]).await;
        }
        let committed = self.bank.commit(&proposals).await;
        self.accounts.extend(proposals.iter().flat_map(|it| &it.decided_on).map(|(id, _)| id.clone()));
        assert_eq!(expected.len(), proposals.len());
        for ((proposal, outcome), (line, expected)) in proposals.iter().zip(&committed.outcomes).zip(expected)
        {
            self.check_outcome(proposal, outcome, line, expected);
        }
        for (id, current) in &committed.current {
            assert_eq!(self.bank.load(std::slice::from_ref(id)).await, std::slice::from_ref(current));
        }
        let sent: Vec<_> = proposals.into_iter().zip(committed.outcomes).collect();
        self.check_effects(&sent).await;
        if sent.iter().all(|(proposal, _)| proposal.is_recorded()) {
            self.resend(&sent).await;
        }
        sent
    }

    fn check_outcome(&mut self, proposal: &Proposal, outcome: &Outcome, line: &str, expected: &str) {
        let expected = match expected {
            "conflict of a rejection" => {
                assert!(proposal.decision.is_err(), "{line}");
                Outcome::Conflict
            }
            "applied" | "rejected" => {
                assert_eq!(proposal.decision.is_ok(), expected == "applied", "{line}");
                Outcome::Applied
            }
            "replayed" => Outcome::Replayed(self.recorded[&proposal.key].clone()),
            "reused" => Outcome::RequestIdReused,
            "conflict" => Outcome::Conflict,
            "abandoned" => Outcome::Abandoned,
            _ => panic!("unknown outcome: {line}"),
        };
        assert_eq!(*outcome, expected, "{line}");
        if *outcome == Outcome::Applied && proposal.is_recorded() {
            let recorded = match &proposal.decision {
                Ok(plan) => RecordedOutcome::Entry(Arc::clone(&plan.primary.entry)),
                Err(rejection) => RecordedOutcome::Rejected(Box::new(rejection.clone())),
            };
            self.recorded.insert(proposal.key.clone(), recorded);
        }
    }

    /// Checks that the plans that were applied are the newest state, and that no other plan has left an entry.
    async fn check_effects(&self, sent: &[(Proposal, Outcome)]) {
        let mut newest: HashMap<_, &Change> = HashMap::new();
        for (proposal, outcome) in sent {
            for change in proposal.decision.iter().flat_map(Plan::changes) {
                match outcome {
                    Outcome::Applied => drop(newest.insert(&change.account.id, change)),
                    // The first attempt may have written the same entry.
                    Outcome::Replayed(_) => {}
                    _ => {
                        let history = self.bank.history(change.account.id.as_str()).await;
                        assert!(!history.contains(&change.entry), "{outcome:?} has left {:?}", change.entry);
                    }
                }
            }
        }
        for (id, change) in newest {
            assert_eq!(self.bank.account(id.as_str()).await, *change.account);
            assert_eq!(self.bank.newest(id.as_str()).await, *change.entry);
        }
    }

    async fn resend(&self, sent: &[(Proposal, Outcome)]) {
        let before = self.state().await;
        let (proposals, outcomes): (Vec<_>, Vec<_>) = sent.iter().cloned().unzip();
        assert_eq!(self.bank.commit(&proposals).await.outcomes, outcomes, "{proposals:#?}");
        assert_eq!(self.state().await, before);
    }

    async fn current_view(&self) -> View {
        self.bank.view_of(&Vec::from_iter(self.accounts.clone())).await
    }

    async fn state(&self) -> (Vec<Option<Account>>, Vec<Vec<Entry>>) {
        let ids = Vec::from_iter(self.accounts.clone());
        let mut histories = Vec::new();
        for id in &ids {
            histories.push(self.bank.history(id.as_str()).await);
        }
        (self.bank.load(&ids).await, histories)
    }
}

/// `[unrecorded] [REQUEST-ID:] COMMAND ["DESCRIPTION"]`
fn request(text: &str) -> Request {
    if let Some(rest) = text.strip_prefix("unrecorded ") {
        return unrecorded(request(rest));
    }
    match text.split_once(": ") {
        Some((name, command)) => named(name, self::command(command)),
        None => command(text).into(),
    }
}

fn command(text: &str) -> Command {
    if let Some((rest, description)) = text.split_once(" \"") {
        return described(command(rest), description.trim_end_matches('"'));
    }
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["open", account_id, ref options @ ..] => {
            let options = options.iter().map(|option| option.split_once('=').unwrap());
            let opening = options.fold(open(account_id), |opening, option| match option {
                ("owner", name) => opening.owned_by(name),
                ("overdraft", limit) => opening.checking(number(limit)),
                ("currency", code) => opening.in_currency(code),
                (label, value) => opening.labelled(label.strip_prefix("label:").unwrap(), value),
            });
            opening.into()
        }
        ["deposit", account_id, amount] => deposit(account_id, number(amount)),
        ["withdraw", account_id, amount] => withdraw(account_id, number(amount)),
        ["transfer", source, destination, amount] => transfer(source, destination, number(amount)),
        ["limit", account_id, amount] => limit(account_id, number(amount)),
        ["interest", account_id, annual_rate] => {
            interest(account_id, Terms::new(annual_rate.parse().unwrap()), Period::OneYear)
        }
        ["freeze", account_id] => freeze(account_id),
        ["unfreeze", account_id] => unfreeze(account_id),
        ["close", account_id] => close(account_id),
        _ => panic!("unknown command: {text}"),
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}
