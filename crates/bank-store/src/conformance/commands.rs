//! Short constructors of commands. They panic if a text is malformed.

use std::collections::BTreeMap;

use bank_domain::{
    AccountId, AccountType, Amount, ApplyInterest, ChangeState, Command, Currency, Deposit, Description,
    Labels, OpenAccount, OverdraftLimit, Owner, RequestId, SetOverdraftLimit, Transfer, Withdraw,
    interest::{Period, Terms},
};

/// A command with its request id.
#[derive(Clone, Debug)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// The request id; a random one if there is none.
    pub name: Option<RequestId>,
    /// Whether a rejection leaves a request record.
    pub rejection_recorded: bool,
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command, name: None, rejection_recorded: true }
    }
}

impl From<Opening> for Request {
    fn from(opening: Opening) -> Self {
        Command::from(opening).into()
    }
}

/// Parses an account id.
pub fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

/// Parses a request id.
pub fn request_id(text: &str) -> RequestId {
    text.parse().unwrap()
}

/// Parses a currency code.
pub fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

/// Parses an owner.
pub fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

/// A request with an id.
pub fn named(name: &str, request: impl Into<Request>) -> Request {
    Request { name: Some(request_id(name)), ..request.into() }
}

/// A request whose rejection leaves no record.
pub fn unrecorded(request: impl Into<Request>) -> Request {
    Request { rejection_recorded: false, ..request.into() }
}

/// Opens a savings account in US dollars without an owner, unless changed.
pub fn open(account_id: &str) -> Opening {
    Opening {
        account_id: id(account_id),
        currency: Currency::USD,
        overdraft_limit: None,
        owner: Owner::default(),
        labels: BTreeMap::new(),
    }
}

/// An account to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    account_id: AccountId,
    currency: Currency,
    overdraft_limit: Option<i64>,
    owner: Owner,
    labels: BTreeMap<String, String>,
}

impl Opening {
    /// Makes it a checking account with this overdraft limit.
    #[must_use]
    pub fn checking(self, overdraft_limit: i64) -> Self {
        Self { overdraft_limit: Some(overdraft_limit), ..self }
    }

    /// Sets the currency.
    #[must_use]
    pub fn in_currency(self, code: &str) -> Self {
        Self { currency: currency(code), ..self }
    }

    /// Sets the owner.
    #[must_use]
    pub fn owned_by(self, name: &str) -> Self {
        Self { owner: owner(name), ..self }
    }

    /// Adds a label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl From<Opening> for Command {
    fn from(opening: Opening) -> Self {
        let Opening { account_id, currency, overdraft_limit, owner, labels } = opening;
        let account_type =
            if overdraft_limit.is_some() { AccountType::Checking } else { AccountType::Savings };
        let limit = overdraft_limit.map(|minor_units| OverdraftLimit::try_new(None, minor_units).unwrap());
        let labels = Labels::try_from(labels).unwrap();
        Self::OpenAccount(
            OpenAccount::try_new(account_id, account_type, currency, owner, labels, limit).unwrap(),
        )
    }
}

/// A deposit.
pub fn deposit(account_id: &str, minor_units: i64) -> Command {
    Command::Deposit(Deposit {
        account_id: id(account_id),
        amount: amount(minor_units),
        description: Description::default(),
    })
}

/// A withdrawal.
pub fn withdraw(account_id: &str, minor_units: i64) -> Command {
    Command::Withdraw(Withdraw {
        account_id: id(account_id),
        amount: amount(minor_units),
        description: Description::default(),
    })
}

/// A transfer.
pub fn transfer(source: &str, destination: &str, minor_units: i64) -> Command {
    let transfer =
        Transfer::try_new(id(source), id(destination), amount(minor_units), Description::default());
    Command::Transfer(transfer.unwrap())
}

/// Interest.
pub fn interest(account_id: &str, terms: Terms, period: Period) -> Command {
    Command::ApplyInterest(ApplyInterest {
        account_id: id(account_id),
        terms,
        period,
        description: Description::default(),
    })
}

/// Sets an overdraft limit.
pub fn limit(account_id: &str, minor_units: i64) -> Command {
    Command::SetOverdraftLimit(SetOverdraftLimit {
        account_id: id(account_id),
        limit: OverdraftLimit::try_new(None, minor_units).unwrap(),
    })
}

/// Freezes an account.
pub fn freeze(account_id: &str) -> Command {
    Command::Freeze(change(account_id))
}

/// Unfreezes an account.
pub fn unfreeze(account_id: &str) -> Command {
    Command::Unfreeze(change(account_id))
}

/// Closes an account.
pub fn close(account_id: &str) -> Command {
    Command::Close(change(account_id))
}

/// Sets the description, if the command has one.
pub fn described(command: Command, text: &str) -> Command {
    let words: Description = text.parse().unwrap();
    match command {
        Command::Deposit(it) => Command::Deposit(Deposit { description: words, ..it }),
        Command::Withdraw(it) => Command::Withdraw(Withdraw { description: words, ..it }),
        Command::Transfer(it) => {
            let (source, destination) = (it.source().clone(), it.destination().clone());
            Command::Transfer(Transfer::try_new(source, destination, it.amount(), words).unwrap())
        }
        Command::ApplyInterest(it) => Command::ApplyInterest(ApplyInterest { description: words, ..it }),
        Command::Freeze(it) => Command::Freeze(ChangeState { description: words, ..it }),
        Command::Unfreeze(it) => Command::Unfreeze(ChangeState { description: words, ..it }),
        Command::Close(it) => Command::Close(ChangeState { description: words, ..it }),
        other @ (Command::OpenAccount(_) | Command::SetOverdraftLimit(_)) => other,
    }
}

fn amount(minor_units: i64) -> Amount {
    Amount::try_new(None, minor_units).unwrap()
}

fn change(account_id: &str) -> ChangeState {
    ChangeState { account_id: id(account_id), description: Description::default() }
}
