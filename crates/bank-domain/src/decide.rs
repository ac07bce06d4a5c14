//! The rules of the bank: what a command changes, or why it is rejected.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Account, AccountId, AccountState, AccountType, ApplyInterest, ChangeState, Command, Currency, Deposit,
    Description, Entry, EntryHash, EntryId, EntryKind, Money, OpenAccount, Overflow, RequestId,
    RequestedAmount, SetOverdraftLimit, Timestamp, TransactionId, Transfer, Withdraw, interest,
};

/// The input of a decision besides the accounts.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of the decision.
    pub now: Timestamp,
    /// How far the newest entry of an account may be in the future. An entry beyond that was written by a server with
    /// a wrong clock, and later entries would inherit its time.
    pub ahead_max: Duration,
    /// The idempotency key of the request, for the entries.
    pub request_id: Option<RequestId>,
}

/// What to write: one account and its entry, and for a transfer those of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The account that the command names first: the source of a transfer.
    pub primary: Change,
    /// The destination of a transfer.
    pub counterparty: Option<Box<Change>>,
}

/// An account after a plan, and the new entry. Caches, stores and replies share both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The account after the entry.
    pub account: Arc<Account>,
    /// The entry; its sequence is the version of the account.
    pub entry: Arc<Entry>,
}

/// Why a command is rejected.
///
/// If there are several reasons, the first in this order is returned:
///
/// 1. the account does not exist ([`Rejection::AccountNotFound`]), or does already
///    ([`Rejection::AccountAlreadyExists`]); the source of a transfer before its destination;
/// 2. the account is closed ([`Rejection::AccountClosed`]), source before destination;
/// 3. the account is frozen ([`Rejection::AccountFrozen`]), or not frozen ([`Rejection::AccountNotFrozen`]);
/// 4. the currency differs ([`Rejection::CurrencyMismatch`]), source before destination;
/// 5. the rules of the command: [`Rejection::OverdraftNotAllowed`],
///    [`Rejection::OverdraftInUse`], [`Rejection::BalanceNotZero`];
/// 6. the available balance is too low ([`Rejection::InsufficientFunds`]);
/// 7. a balance would overflow 64 bits ([`Rejection::BalanceOutOfRange`]);
/// 8. an account is ahead of the clock ([`Rejection::AccountAheadOfClock`]), source before destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Rejection {
    /// There is no such account.
    #[error("account {account_id} does not exist")]
    AccountNotFound {
        /// The account.
        account_id: AccountId,
    },
    /// The account id is taken.
    #[error("account {account_id} already exists")]
    AccountAlreadyExists {
        /// The account.
        account_id: AccountId,
    },
    /// A closed account allows nothing.
    #[error("account {account_id} is closed")]
    AccountClosed {
        /// The account.
        account_id: AccountId,
    },
    /// A frozen account allows only incoming money and unfreezing.
    #[error("account {account_id} is frozen")]
    AccountFrozen {
        /// The account.
        account_id: AccountId,
    },
    /// Only a frozen account can be unfrozen.
    #[error("account {account_id} is not frozen")]
    AccountNotFrozen {
        /// The account.
        account_id: AccountId,
    },
    /// Money moves in the currency of the account only.
    #[error("account {account_id} is held in {account_currency}, not in {requested_currency}")]
    CurrencyMismatch {
        /// The account.
        account_id: AccountId,
        /// The currency of the account.
        account_currency: Currency,
        /// The currency of the request, or of the source of a transfer.
        requested_currency: Currency,
    },
    /// A savings account has no overdraft.
    #[error("account {account_id} is a savings account, which has no overdraft")]
    OverdraftNotAllowed {
        /// The account.
        account_id: AccountId,
    },
    /// The balance is below what the new limit allows.
    #[error("account {account_id} is at {balance}; the overdraft limit cannot be {requested}")]
    OverdraftInUse {
        /// The account.
        account_id: AccountId,
        /// The current balance.
        balance: Money,
        /// The limit asked for.
        requested: Money,
    },
    /// Only an account with a balance of zero can be closed.
    #[error("account {account_id} holds {balance}; only a zero balance can be closed")]
    BalanceNotZero {
        /// The account.
        account_id: AccountId,
        /// The current balance.
        balance: Money,
    },
    /// The balance would overflow 64 bits.
    #[error("the balance of account {account_id} would leave the range of 64-bit minor units")]
    BalanceOutOfRange {
        /// The account.
        account_id: AccountId,
    },
    /// The available balance is too low.
    #[error("account {account_id} has {available} available, {requested} requested")]
    InsufficientFunds {
        /// The account.
        account_id: AccountId,
        /// The amount to take.
        requested: Money,
        /// The most that could be taken: the balance plus the unused overdraft.
        available: Money,
        /// The current balance.
        balance: Money,
    },
    /// The newest entry of the account is further in the future than clocks may differ.
    #[error("{}", ahead_of_clock(.account_id, *.newest_at))]
    AccountAheadOfClock {
        /// The account.
        account_id: AccountId,
        /// The time of the newest entry. None for the destination of a transfer: the caller may not learn when
        /// somebody else's account was used.
        newest_at: Option<Timestamp>,
    },
}

impl Rejection {
    /// Whether this is the final outcome of the request. An account ahead of the clock is not: the same request may
    /// succeed later.
    pub const fn is_outcome(&self) -> bool {
        !matches!(self, Self::AccountAheadOfClock { .. })
    }
}

fn ahead_of_clock(account_id: &AccountId, newest_at: Option<Timestamp>) -> String {
    match newest_at {
        Some(newest_at) => format!(
            "account {account_id} takes no changes: its newest entry is dated {newest_at}, ahead of the clock"
        ),
        None => format!("account {account_id} takes no changes: it is ahead of the clock"),
    }
}

impl Plan {
    /// The changes, the primary one first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        std::iter::once(&self.primary).chain(self.counterparty.as_deref())
    }
}

impl From<Change> for Plan {
    fn from(primary: Change) -> Self {
        Self { primary, counterparty: None }
    }
}

/// Decides a command on the current accounts. Pure: equal arguments give equal results.
///
/// `account` returns the accounts that the command names ([`Command::account_ids`]), or `None` for one that does
/// not exist.
///
/// # Errors
/// The [`Rejection`] that comes first in its documented order.
pub fn decide<'a>(
    account: impl Fn(&AccountId) -> Option<&'a Account>,
    command: &Command,
    context: &Context,
) -> Result<Plan, Rejection> {
    let existing =
        |id: &AccountId| account(id).ok_or_else(|| Rejection::AccountNotFound { account_id: id.clone() });
    let plan = match command {
        Command::OpenAccount(open) => match account(open.account_id()) {
            Some(_) => {
                return Err(Rejection::AccountAlreadyExists { account_id: open.account_id().clone() });
            }
            None => open_account(open, context).into(),
        },
        Command::Deposit(command) => deposit(existing(&command.account_id)?, command, context)?.into(),
        Command::Withdraw(command) => withdraw(existing(&command.account_id)?, command, context)?.into(),
        Command::Transfer(command) => {
            transfer(existing(command.source())?, existing(command.destination())?, command, context)?
        }
        Command::ApplyInterest(command) => {
            apply_interest(existing(&command.account_id)?, command, context)?.into()
        }
        Command::SetOverdraftLimit(command) => {
            set_overdraft_limit(existing(&command.account_id)?, command, context)?.into()
        }
        Command::Freeze(command) => freeze(existing(&command.account_id)?, command, context)?.into(),
        Command::Unfreeze(command) => unfreeze(existing(&command.account_id)?, command, context)?.into(),
        Command::Close(command) => close(existing(&command.account_id)?, command, context)?.into(),
    };
    // The entry is in the future only if the newest entry of an account is. Both entries of a transfer have one time.
    let is_ahead = |time: Timestamp| time.is_ahead_of(context.now, context.ahead_max);
    if !is_ahead(plan.primary.entry.time) {
        return Ok(plan);
    }
    let mut accounts = command.account_ids().filter_map(account);
    match accounts.find(|account| is_ahead(account.updated_at)) {
        None => Ok(plan),
        Some(account) => Err(Rejection::AccountAheadOfClock {
            account_id: account.id.clone(),
            newest_at: (account.id == *command.account_id()).then_some(account.updated_at),
        }),
    }
}

fn open_account(open: &OpenAccount, context: &Context) -> Change {
    let zero = Money::zero(open.currency());
    let overdraft_limit = zero.with_minor_units(open.overdraft_limit_minor_units());
    let mut account = Account {
        id: open.account_id().clone(),
        account_type: open.account_type(),
        currency: open.currency(),
        owner: open.owner().clone(),
        labels: open.labels().clone(),
        state: AccountState::Active,
        balance: zero,
        overdraft_limit,
        version: 0,
        opened_at: context.now,
        updated_at: context.now,
        head: EntryHash::from_bytes([0; 32]),
    };
    account.head = account.genesis();
    let kind = EntryKind::AccountOpened { overdraft_limit };
    Posting::on(&account, context).write(kind, account.state, zero, zero)
}

fn deposit(account: &Account, command: &Deposit, context: &Context) -> Result<Change, Rejection> {
    require_open(account)?;
    let amount = resolve(account, command.amount)?;
    Posting::on(account, context).described(&command.description).add(EntryKind::Deposit, amount)
}

fn withdraw(account: &Account, command: &Withdraw, context: &Context) -> Result<Change, Rejection> {
    require_active(account)?;
    let amount = resolve(account, command.amount)?;
    Posting::on(account, context).described(&command.description).take(EntryKind::Withdrawal, amount)
}

fn transfer(
    source: &Account,
    destination: &Account,
    command: &Transfer,
    context: &Context,
) -> Result<Plan, Rejection> {
    require_open(source)?;
    require_open(destination)?;
    require_active(source)?;
    let amount = resolve(source, command.amount())?;
    require_currency(destination, amount.currency)?;

    // Both entries have one time, which is not before the newest entry of either account.
    let context = Context { now: context.now.max(destination.updated_at), ..context.clone() };
    let out = EntryKind::TransferOut { destination: destination.id.clone() };
    let debit = Posting::on(source, &context).described(command.description()).take(out, amount)?;

    let context = Context { now: debit.entry.time, ..context };
    let credit = Posting::on(destination, &context)
        .described(command.description())
        .in_transaction(&debit.entry.transaction_id)
        .add(EntryKind::TransferIn { source: source.id.clone() }, amount)?;
    Ok(Plan { primary: debit, counterparty: Some(Box::new(credit)) })
}

fn apply_interest(
    account: &Account,
    command: &ApplyInterest,
    context: &Context,
) -> Result<Change, Rejection> {
    require_active(account)?;
    let out_of_range = |Overflow| Rejection::BalanceOutOfRange { account_id: account.id.clone() };
    let interest =
        interest::calculate(account.balance, &command.terms, command.period).map_err(out_of_range)?.interest;
    let kind = EntryKind::Interest { terms: command.terms, period: command.period };
    let posting = Posting::on(account, context).described(&command.description);
    // Negative interest is limited by the available balance, like a withdrawal.
    if interest.minor_units < 0 {
        posting.take(kind, interest.checked_neg().map_err(out_of_range)?)
    } else {
        posting.add(kind, interest)
    }
}

fn set_overdraft_limit(
    account: &Account,
    command: &SetOverdraftLimit,
    context: &Context,
) -> Result<Change, Rejection> {
    require_active(account)?;
    let limit = resolve(account, command.limit)?;
    if account.account_type == AccountType::Savings {
        return Err(Rejection::OverdraftNotAllowed { account_id: account.id.clone() });
    }
    if account.balance.minor_units < -limit.minor_units {
        return Err(Rejection::OverdraftInUse {
            account_id: account.id.clone(),
            balance: account.balance,
            requested: limit,
        });
    }
    let account = Account { overdraft_limit: limit, ..account.clone() };
    let (zero, kind) = (Money::zero(account.currency), EntryKind::OverdraftLimitSet { limit });
    Ok(Posting::on(&account, context).write(kind, account.state, zero, account.balance))
}

fn freeze(account: &Account, command: &ChangeState, context: &Context) -> Result<Change, Rejection> {
    require_active(account)?;
    Ok(change_state(account, command, context, AccountState::Frozen, EntryKind::AccountFrozen))
}

fn unfreeze(account: &Account, command: &ChangeState, context: &Context) -> Result<Change, Rejection> {
    require_open(account)?;
    if account.state != AccountState::Frozen {
        return Err(Rejection::AccountNotFrozen { account_id: account.id.clone() });
    }
    Ok(change_state(account, command, context, AccountState::Active, EntryKind::AccountUnfrozen))
}

fn close(account: &Account, command: &ChangeState, context: &Context) -> Result<Change, Rejection> {
    require_active(account)?;
    if account.balance.minor_units != 0 {
        return Err(Rejection::BalanceNotZero { account_id: account.id.clone(), balance: account.balance });
    }
    Ok(change_state(account, command, context, AccountState::Closed, EntryKind::AccountClosed))
}

fn change_state(
    account: &Account,
    command: &ChangeState,
    context: &Context,
    state: AccountState,
    kind: EntryKind,
) -> Change {
    let (zero, posting) = (Money::zero(account.currency), Posting::on(account, context));
    posting.described(&command.description).write(kind, state, zero, account.balance)
}

fn require_open(account: &Account) -> Result<(), Rejection> {
    match account.state {
        AccountState::Active | AccountState::Frozen => Ok(()),
        AccountState::Closed => Err(Rejection::AccountClosed { account_id: account.id.clone() }),
    }
}

fn require_active(account: &Account) -> Result<(), Rejection> {
    require_open(account)?;
    match account.state {
        AccountState::Frozen => Err(Rejection::AccountFrozen { account_id: account.id.clone() }),
        AccountState::Active | AccountState::Closed => Ok(()),
    }
}

fn require_currency(account: &Account, requested_currency: Currency) -> Result<(), Rejection> {
    if account.currency == requested_currency {
        return Ok(());
    }
    Err(Rejection::CurrencyMismatch {
        account_id: account.id.clone(),
        account_currency: account.currency,
        requested_currency,
    })
}

fn resolve<const MIN: i64>(account: &Account, amount: RequestedAmount<MIN>) -> Result<Money, Rejection> {
    require_currency(account, amount.currency().unwrap_or(account.currency))?;
    Ok(account.balance.with_minor_units(amount.minor_units()))
}

/// The next entry of an account, while it is built.
struct Posting<'a> {
    account: &'a Account,
    context: &'a Context,
    description: Description,
    transaction_id: Option<TransactionId>,
}

impl<'a> Posting<'a> {
    fn on(account: &'a Account, context: &'a Context) -> Self {
        Self { account, context, description: Description::default(), transaction_id: None }
    }

    fn described(mut self, description: &Description) -> Self {
        self.description = description.clone();
        self
    }

    fn in_transaction(mut self, transaction_id: &TransactionId) -> Self {
        self.transaction_id = Some(transaction_id.clone());
        self
    }

    /// Adds an amount of zero or more to the balance.
    fn add(self, kind: EntryKind, amount: Money) -> Result<Change, Rejection> {
        let balance = self
            .account
            .balance
            .checked_add(amount)
            .map_err(|Overflow| Rejection::BalanceOutOfRange { account_id: self.account.id.clone() })?;
        let state = self.account.state;
        Ok(self.write(kind, state, amount, balance))
    }

    /// Takes an amount of more than zero from the balance, down to the overdraft limit.
    fn take(self, kind: EntryKind, amount: Money) -> Result<Change, Rejection> {
        let floor = -self.account.overdraft_limit.minor_units;
        let minus = amount.with_minor_units(-amount.minor_units);
        // A balance below 64 bits is below every limit, too.
        match self.account.balance.checked_add(minus) {
            Ok(balance) if balance.minor_units >= floor => {
                let state = self.account.state;
                Ok(self.write(kind, state, minus, balance))
            }
            Ok(_) | Err(Overflow) => Err(Rejection::InsufficientFunds {
                account_id: self.account.id.clone(),
                requested: amount,
                available: self.account.available(),
                balance: self.account.balance,
            }),
        }
    }

    /// The entry, and the account after it.
    fn write(self, kind: EntryKind, state: AccountState, amount: Money, balance: Money) -> Change {
        let id = EntryId {
            time: self.context.now.max(self.account.updated_at),
            sequence: self.account.version + 1,
        };
        let transaction_id = self
            .transaction_id
            .unwrap_or_else(|| TransactionId { account_id: self.account.id.clone(), entry_id: id });
        let mut entry = Entry {
            transaction_id,
            account_id: self.account.id.clone(),
            sequence: id.sequence,
            time: id.time,
            kind,
            amount,
            balance_after: balance,
            request_id: self.context.request_id.clone(),
            description: self.description,
            hash: self.account.head,
        };
        entry.hash = entry.chained_to(&self.account.head);
        let account = Account {
            state,
            balance,
            version: id.sequence,
            updated_at: id.time,
            head: entry.hash,
            ..self.account.clone()
        };
        Change { account: Arc::new(account), entry: Arc::new(entry) }
    }
}
