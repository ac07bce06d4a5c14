//! Is all the money there?

use std::collections::BTreeMap;

use crate::{Account, Currency, Entry, EntryKind, MoneySum, Timestamp};

/// What came in and went out, and what is held, in each currency.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By the code of the currency.
    by_currency: BTreeMap<&'static str, Sums>,
}

/// The books of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// What was paid in from outside.
    pub money_in: MoneySum,
    /// What was paid out of the bank.
    pub money_out: MoneySum,
    /// What was booked as interest; may be negative.
    pub interest: MoneySum,
    /// What transfers brought, less what they took.
    pub transferred: MoneySum,
    /// The same of the transfers that were settled before the audit began.
    pub settled: MoneySum,
    /// What the accounts say they hold.
    pub held: MoneySum,
}

/// Whether a whole bank is on the books, or only some of its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every account: what one paid, another one got.
    Bank,
    /// Some of them: they may have paid to, or got from, others.
    Accounts,
}

impl Books {
    /// Adds an account as it is.
    pub fn hold(&mut self, account: &Account) {
        self.of(account.currency).held += account.balance;
    }

    /// Adds an entry. Transfers before `settled_before` must have both their sides on the books of a
    /// whole bank; of later ones, one side may have been written after its account was looked at.
    pub fn book(&mut self, entry: &Entry, settled_before: Timestamp) {
        let amount = entry.amount;
        let sums = self.of(amount.currency);
        match entry.kind {
            EntryKind::Deposit => sums.money_in += amount,
            EntryKind::Withdrawal => {
                sums.money_out.minor_units -= i128::from(amount.minor_units);
            }
            EntryKind::Interest { .. } => sums.interest += amount,
            EntryKind::TransferOut { .. } | EntryKind::TransferIn { .. } => {
                sums.transferred += amount;
                if entry.time < settled_before {
                    sums.settled += amount;
                }
            }
            // They have no amount; one that does is on no side of the books, and shows.
            EntryKind::AccountOpened { .. }
            | EntryKind::OverdraftLimitSet { .. }
            | EntryKind::AccountFrozen
            | EntryKind::AccountUnfrozen
            | EntryKind::AccountClosed => {}
        }
    }

    /// Adds other books.
    pub fn merge(&mut self, other: &Self) {
        for theirs in other.by_currency.values() {
            let ours = self.of(theirs.held.currency);
            ours.money_in += theirs.money_in;
            ours.money_out += theirs.money_out;
            ours.interest += theirs.interest;
            ours.transferred += theirs.transferred;
            ours.settled += theirs.settled;
            ours.held += theirs.held;
        }
    }

    /// The books of each currency, in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = &Sums> {
        self.by_currency.values()
    }

    fn of(&mut self, currency: Currency) -> &mut Sums {
        self.by_currency.entry(currency.code()).or_insert_with(|| Sums::zero(currency))
    }
}

impl Sums {
    fn zero(currency: Currency) -> Self {
        let zero = MoneySum::zero(currency);
        Self { money_in: zero, money_out: zero, interest: zero, transferred: zero, settled: zero, held: zero }
    }

    /// How much more is held than came in and did not go out; zero where the books are right.
    pub fn excess(&self) -> MoneySum {
        let [held, came_in, went_out, interest, transferred] =
            [self.held, self.money_in, self.money_out, self.interest, self.transferred]
                .map(|sum| sum.minor_units);
        MoneySum {
            currency: self.held.currency,
            minor_units: held - (came_in - went_out + interest + transferred),
        }
    }

    /// Whether money in = money out + money held, where interest is money in, and so is what transfers
    /// brought. In a whole bank they bring nothing.
    pub fn are_balanced(&self, extent: Extent) -> bool {
        self.excess().minor_units == 0 && (extent == Extent::Accounts || self.settled.minor_units == 0)
    }
}
