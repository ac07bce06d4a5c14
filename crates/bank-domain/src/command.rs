//! What callers ask for, once it is known to be well formed.

use crate::{
    AccountId, AccountType, Amount, Currency, Description, Labels, OverdraftLimit, Owner, WithdrawnCurrency,
    interest,
};

/// One request to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open an account.
    OpenAccount(OpenAccount),
    /// Pay money in from outside.
    Deposit(Deposit),
    /// Pay money out of the bank.
    Withdraw(Withdraw),
    /// Move money from one account to another.
    Transfer(Transfer),
    /// Calculate interest on the balance and book it.
    ApplyInterest(ApplyInterest),
    /// Set how far below zero a checking account may go.
    SetOverdraftLimit(SetOverdraftLimit),
    /// Stop an account from paying out.
    Freeze(ChangeState),
    /// Make a frozen account active again.
    Unfreeze(ChangeState),
    /// Close an account for good.
    Close(ChangeState),
}

/// See [`Command::OpenAccount`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAccount {
    account_id: AccountId,
    account_type: AccountType,
    currency: Currency,
    owner: Owner,
    labels: Labels,
    overdraft_limit_minor_units: i64,
}

/// See [`Command::Deposit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The account that takes the money.
    pub account_id: AccountId,
    /// How much.
    pub amount: Amount,
    /// What for.
    pub description: Description,
}

/// See [`Command::Withdraw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdraw {
    /// The account that pays.
    pub account_id: AccountId,
    /// How much.
    pub amount: Amount,
    /// What for.
    pub description: Description,
}

/// See [`Command::Transfer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    source: AccountId,
    destination: AccountId,
    amount: Amount,
    description: Description,
}

/// See [`Command::ApplyInterest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyInterest {
    /// The account that earns it.
    pub account_id: AccountId,
    /// How it is calculated.
    pub terms: interest::Terms,
    /// What time it is for.
    pub period: interest::Period,
    /// What for.
    pub description: Description,
}

/// See [`Command::SetOverdraftLimit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOverdraftLimit {
    /// The account, which must be a checking account.
    pub account_id: AccountId,
    /// The new limit.
    pub limit: OverdraftLimit,
}

/// See [`Command::Freeze`], [`Command::Unfreeze`] and [`Command::Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeState {
    /// The account.
    pub account_id: AccountId,
    /// Why.
    pub description: Description,
}

/// The account cannot be opened so, whatever the bank holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOpenAccount {
    /// A savings account has no overdraft.
    #[error("a savings account has no overdraft; leave the limit out or open a checking account")]
    OverdraftOnSavings,
    /// The limit is in another currency than the account.
    #[error("the limit is in {limit}, the account in {account}")]
    LimitCurrency {
        /// Of the limit.
        limit: Currency,
        /// Of the account.
        account: Currency,
    },
    /// The currency is not in force any more.
    #[error(transparent)]
    WithdrawnCurrency(#[from] WithdrawnCurrency),
}

/// The transfer cannot be made, whatever the accounts hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be another account than the source")]
pub struct InvalidTransfer;

impl OpenAccount {
    /// A request to open an account; no limit means zero.
    ///
    /// # Errors
    /// [`InvalidOpenAccount`] for a limit above zero on savings or in another currency, and for a currency that was
    /// withdrawn.
    pub fn try_new(
        account_id: AccountId,
        account_type: AccountType,
        currency: Currency,
        owner: Owner,
        labels: Labels,
        overdraft_limit: Option<OverdraftLimit>,
    ) -> Result<Self, InvalidOpenAccount> {
        let overdraft_limit_minor_units = overdraft_limit.map_or(0, OverdraftLimit::minor_units);
        if let Some(limit) = overdraft_limit.and_then(OverdraftLimit::currency)
            && limit != currency
        {
            return Err(InvalidOpenAccount::LimitCurrency { limit, account: currency });
        }
        if account_type == AccountType::Savings && overdraft_limit_minor_units > 0 {
            return Err(InvalidOpenAccount::OverdraftOnSavings);
        }
        currency.require_active()?;
        Ok(Self { account_id, account_type, currency, owner, labels, overdraft_limit_minor_units })
    }

    /// The name of the new account.
    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// Its type.
    pub fn account_type(&self) -> AccountType {
        self.account_type
    }

    /// What it will hold.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Who it will belong to.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What to hang on it.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How far below zero it may go, in minor units of its currency; zero or more.
    pub fn overdraft_limit_minor_units(&self) -> i64 {
        self.overdraft_limit_minor_units
    }
}

impl Transfer {
    /// A request to move money between two accounts.
    ///
    /// # Errors
    /// [`InvalidTransfer`] if they are one and the same.
    pub fn try_new(
        source: AccountId,
        destination: AccountId,
        amount: Amount,
        description: Description,
    ) -> Result<Self, InvalidTransfer> {
        if source == destination {
            return Err(InvalidTransfer);
        }
        Ok(Self { source, destination, amount, description })
    }

    /// The account that pays.
    pub fn source(&self) -> &AccountId {
        &self.source
    }

    /// The account that is paid, never the source.
    pub fn destination(&self) -> &AccountId {
        &self.destination
    }

    /// How much.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What for.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Command {
    /// The account that it names first, which also scopes its request id: the source, for a
    /// transfer.
    pub fn account_id(&self) -> &AccountId {
        match self {
            Self::OpenAccount(command) => &command.account_id,
            Self::Deposit(command) => &command.account_id,
            Self::Withdraw(command) => &command.account_id,
            Self::Transfer(command) => &command.source,
            Self::ApplyInterest(command) => &command.account_id,
            Self::SetOverdraftLimit(command) => &command.account_id,
            Self::Freeze(command) | Self::Unfreeze(command) | Self::Close(command) => &command.account_id,
        }
    }

    /// The other account that it touches: the destination of a transfer.
    pub fn counterparty_id(&self) -> Option<&AccountId> {
        match self {
            Self::Transfer(transfer) => Some(&transfer.destination),
            _ => None,
        }
    }

    /// Every account that it touches, the one that it names first before the other.
    pub fn account_ids(&self) -> impl Iterator<Item = &AccountId> {
        std::iter::once(self.account_id()).chain(self.counterparty_id())
    }
}
