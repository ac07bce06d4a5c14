//! A caller held against the rule of a method.

use bank_domain::{Account, AccountState, Command, Owner};

use super::{Identity, Method, Scope, rules::Accounts};

/// A caller who has leave for a method, and what they may see with it.
///
/// There is no other way to the accounts: the ledger and the reads ask for one.
#[derive(Clone, Debug)]
pub struct Access {
    caller: Identity,
    method: Method,
}

/// A caller lacks a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{act} needs the scope {scope}")]
pub struct ScopeMissing {
    /// What they wanted to do.
    pub act: &'static str,
    /// The scope.
    pub scope: Scope,
}

/// How far a call reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To what is the caller's own, or free to all.
    Own,
    /// To what needs [`Scope::Admin`]: another's account or name, an overdraft. The caller has it, or
    /// was told that there is no such thing.
    Beyond,
    /// Nobody looked: it ended before, or nobody waited for its end.
    Unknown,
}

impl Access {
    /// Lets a caller use a method.
    ///
    /// # Errors
    /// [`ScopeMissing`], if they lack its scope.
    pub fn grant(caller: Identity, method: Method) -> Result<Self, ScopeMissing> {
        match method.rule().scope {
            Some(scope) if !caller.scopes().contains(scope) => {
                Err(ScopeMissing { act: method.name(), scope })
            }
            _ => Ok(Self { caller, method }),
        }
    }

    /// The same caller, for an operation of a batch: what it needs is what a call of its own would.
    ///
    /// # Errors
    /// [`ScopeMissing`], as [`Access::grant`].
    pub fn of(&self, method: Method) -> Result<Self, ScopeMissing> {
        Self::grant(self.caller.clone(), method)
    }

    /// Who calls.
    pub fn caller(&self) -> &Identity {
        &self.caller
    }

    /// Refuses what only administration may name: another's name, or an overdraft, for a new account.
    ///
    /// # Errors
    /// [`ScopeMissing`], if the caller lacks [`Scope::Admin`] for it.
    pub fn permit(&self, command: &Command) -> Result<(), ScopeMissing> {
        let Command::OpenAccount(open) = command else { return Ok(()) };
        if !self.caller.owns(open.owner()) {
            self.administers("opening an account for another owner")?;
        }
        if open.overdraft_limit_minor_units() > 0 {
            self.administers("opening an account with an overdraft")?;
        }
        Ok(())
    }

    fn administers(&self, act: &'static str) -> Result<(), ScopeMissing> {
        if self.is_administrative() { Ok(()) } else { Err(ScopeMissing { act, scope: Scope::Admin }) }
    }

    /// Whether the accounts of this owner are there for the caller.
    pub fn reaches(&self, owner: &Owner) -> bool {
        self.is_administrative() || self.caller.owns(owner)
    }

    /// The account that the call names first, if it is there for the caller. Any other is as if it did
    /// not exist, and so refused by the same rule, in the same words.
    pub fn primary<'a>(&self, account: Option<&'a Account>) -> Option<&'a Account> {
        // The name of a new account may be taken by anybody.
        let opened = self.method.rule().accounts == Accounts::Opened;
        account.filter(|account| opened || self.reaches(&account.owner))
    }

    /// The destination of a transfer, if it is there for the caller: anybody's, so that it can be paid.
    /// That somebody has closed theirs is nobody else's business.
    pub fn counterparty<'a>(&self, account: Option<&'a Account>) -> Option<&'a Account> {
        account.filter(|account| account.state != AccountState::Closed || self.reaches(&account.owner))
    }

    /// Whose accounts a list shows, given whose were asked for; `None` for anybody's.
    ///
    /// # Errors
    /// [`ScopeMissing`], if another's were asked for by a caller who lacks [`Scope::Admin`].
    pub fn listed(&self, owner: Option<Owner>) -> Result<(Option<Owner>, Extent), ScopeMissing> {
        match owner {
            Some(owner) if self.caller.owns(&owner) => Ok((Some(owner), Extent::Own)),
            Some(owner) => {
                self.administers("listing the accounts of another owner")?;
                Ok((Some(owner), Extent::Beyond))
            }
            None if self.caller.is_operator() => Ok((None, Extent::Own)),
            None if self.is_administrative() => Ok((None, Extent::Beyond)),
            None => Ok((Some(self.caller.subject().clone()), Extent::Own)),
        }
    }

    /// How far a command reaches, given the account that it names first.
    pub fn extent(&self, command: &Command, primary: Option<&Account>) -> Extent {
        match (command, primary) {
            (Command::OpenAccount(open), _) if open.overdraft_limit_minor_units() > 0 => Extent::Beyond,
            (Command::OpenAccount(open), _) => self.extent_of(open.owner()),
            (_, Some(account)) => self.extent_of(&account.owner),
            (_, None) => Extent::Own,
        }
    }

    /// How far a call reaches that names what is this owner's.
    pub fn extent_of(&self, owner: &Owner) -> Extent {
        if self.caller.owns(owner) { Extent::Own } else { Extent::Beyond }
    }

    fn is_administrative(&self) -> bool {
        self.caller.scopes().contains(Scope::Admin)
    }
}
