//! Well-formed requests to change something.

use crate::{
    AccountId, AccountType, Amount, Currency, Description, Labels, OverdraftLimit, Owner, WithdrawnCurrency,
    interest,
};

/// A request to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open an account.
    OpenAccount(OpenAccount),
    /// Pay money into an account, from outside the bank.
    Deposit(Deposit),
    /// Pay money out of an account, to outside the bank.
    Withdraw(Withdraw),
    /// Move money from one account to another.
    Transfer(Transfer),
    /// Calculate interest on the balance and book it.
    ApplyInterest(ApplyInterest),
    /// Set how far below zero a checking account may go.
    SetOverdraftLimit(SetOverdraftLimit),
    /// Block payments out of an account.
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
    /// The receiving account.
    pub account_id: AccountId,
    /// More than zero.
    pub amount: Amount,
    /// May be empty.
    pub description: Description,
}

/// See [`Command::Withdraw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdraw {
    /// The paying account.
    pub account_id: AccountId,
    /// More than zero.
    pub amount: Amount,
    /// May be empty.
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
    /// The account that the interest is booked on.
    pub account_id: AccountId,
    /// The terms of the calculation.
    pub terms: interest::Terms,
    /// The period of the calculation.
    pub period: interest::Period,
    /// May be empty.
    pub description: Description,
}

/// See [`Command::SetOverdraftLimit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOverdraftLimit {
    /// A checking account.
    pub account_id: AccountId,
    /// The new limit.
    pub limit: OverdraftLimit,
}

/// See [`Command::Freeze`], [`Command::Unfreeze`] and [`Command::Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeState {
    /// The account to change.
    pub account_id: AccountId,
    /// The reason; may be empty.
    pub description: Description,
}

/// The request to open an account is invalid in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOpenAccount {
    /// A savings account has no overdraft.
    #[error("a savings account has no overdraft; leave the limit out or open a checking account")]
    OverdraftOnSavings,
    /// The limit is in another currency than the account.
    #[error("the limit is in {limit}, the account in {account}")]
    LimitCurrency {
        /// The currency of the limit.
        limit: Currency,
        /// The currency of the account.
        account: Currency,
    },
    /// The currency was withdrawn.
    #[error(transparent)]
    WithdrawnCurrency(#[from] WithdrawnCurrency),
}

/// The source of the transfer is also its destination.
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

    /// The id of the new account.
    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// The type of the new account.
    pub fn account_type(&self) -> AccountType {
        self.account_type
    }

    /// The currency of the new account.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The owner of the new account.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The labels of the new account.
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
    /// [`InvalidTransfer`] if both are the same account.
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

    /// The paying account.
    pub fn source(&self) -> &AccountId {
        &self.source
    }

    /// The receiving account; never the source.
    pub fn destination(&self) -> &AccountId {
        &self.destination
    }

    /// More than zero.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// May be empty.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Command {
    /// The account that the command names first: the source of a transfer. Request ids are unique within it.
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

    /// The destination of a transfer.
    pub fn counterparty_id(&self) -> Option<&AccountId> {
        match self {
            Self::Transfer(transfer) => Some(&transfer.destination),
            _ => None,
        }
    }

    /// Every account that the command changes, the one that it names first before the other.
    pub fn account_ids(&self) -> impl Iterator<Item = &AccountId> {
        std::iter::once(self.account_id()).chain(self.counterparty_id())
    }
}
