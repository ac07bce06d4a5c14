//! Makes correct histories: a bank that executes one operation at a time, in the given order.

use std::{ops::Range, time::Duration};

use bank_client::EntryKind;

use crate::workload::history::{Action, Books, Entry, Operation, Outcome, Seen, Span};

/// What has happened so far.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) operations: Vec<Operation>,
    pub(super) books: Books,
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn span(milliseconds: Range<u64>) -> Span {
    Span { invoked: ms(milliseconds.start), replied: ms(milliseconds.end) }
}

impl Scene {
    /// The accounts `a` and `b`, of 100 each, at version 2; none may go below zero.
    pub(super) fn open() -> Self {
        let mut scene = Self { operations: Vec::new(), books: Books::new() };
        for account in ["a", "b"] {
            let account = account.to_owned();
            scene.run(0..1, Action::Open { account: account.clone(), overdraft_limit: 0 });
            scene.run(1..2, Action::Deposit { account, amount: 100 });
        }
        scene
    }

    /// Carries an action out after all others so far, and says that it was asked for and answered at
    /// these times, in milliseconds. Returns its number.
    pub(super) fn run(&mut self, milliseconds: Range<u64>, action: Action) -> usize {
        let number = self.without_effect(milliseconds, action.clone());
        self.operations[number].outcome = self.answer(&self.id(number), &action);
        number
    }

    /// As [`Scene::run`], but it is not carried out.
    pub(super) fn without_effect(&mut self, milliseconds: Range<u64>, action: Action) -> usize {
        let number = self.operations.len();
        self.operations.push(Operation {
            id: format!("op-{number}"),
            action,
            server: 0,
            span: span(milliseconds),
            outcome: Outcome::NotDone("nothing was done".to_owned()),
        });
        number
    }

    /// Its client did not learn its outcome.
    pub(super) fn unknown(&mut self, number: usize) {
        self.operations[number].outcome = Outcome::Unknown("no answer".to_owned());
    }

    pub(super) fn id(&self, number: usize) -> String {
        self.operations[number].id.clone()
    }

    pub(super) fn answer(&mut self, id: &str, action: &Action) -> Outcome {
        match action {
            Action::Open { account, .. } => self.write(id, account, EntryKind::AccountOpened, 0, None),
            Action::Deposit { account, amount } => self.write(id, account, EntryKind::Deposit, *amount, None),
            Action::Withdraw { account, amount } => self
                .rejection(account, *amount)
                .unwrap_or_else(|| self.write(id, account, EntryKind::Withdrawal, -amount, None)),
            Action::Transfer { from, to, amount } => self.rejection(from, *amount).unwrap_or_else(|| {
                self.write(id, to, EntryKind::TransferIn, *amount, Some(from));
                self.write(id, from, EntryKind::TransferOut, -amount, Some(to))
            }),
            Action::GetBalance { account } => Outcome::Balance(self.seen(account).balance),
            Action::GetAccount { account } => Outcome::Accounts(vec![self.seen(account)]),
            Action::ListAccounts => {
                Outcome::Accounts(self.books.keys().map(|account| self.seen(account)).collect())
            }
        }
    }

    fn rejection(&self, account: &str, amount: i64) -> Option<Outcome> {
        let Seen { balance, .. } = self.seen(account);
        (amount > balance).then_some(Outcome::Rejected { balance, available: balance })
    }

    fn seen(&self, account: &str) -> Seen {
        let newest = self.books[account].last().unwrap();
        Seen { account: account.to_owned(), version: newest.sequence, balance: newest.balance_after }
    }

    fn write(
        &mut self,
        id: &str,
        account: &str,
        kind: EntryKind,
        amount: i64,
        counterparty: Option<&String>,
    ) -> Outcome {
        let entries = self.books.entry(account.to_owned()).or_default();
        let balance = entries.last().map_or(0, |entry| entry.balance_after) + amount;
        let sequence = entries.len() as u64 + 1;
        entries.push(Entry {
            sequence,
            request_id: id.to_owned(),
            transaction_id: id.to_owned(),
            kind,
            amount,
            balance_after: balance,
            counterparty: counterparty.cloned(),
        });
        Outcome::Acknowledged { sequence, balance }
    }
}
