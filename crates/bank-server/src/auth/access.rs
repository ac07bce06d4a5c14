//! Authorization: the rule of a method, applied to a caller.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use bank_domain::{Account, AccountState, Command, Owner};

use super::{Identity, Method, Scope, rules::Accounts};

/// Proof that a caller may use a method, and which accounts are visible to it.
///
/// The ledger and all reads require it: there is no other way to the accounts. So it notes, for the audit trail, which accounts
/// the call reached. Clones share that note.
#[derive(Clone, Debug)]
pub struct Access {
    caller: Identity,
    method: Method,
    extent: Arc<AtomicU8>,
}

/// A caller lacks a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{act} needs the scope {scope}")]
pub struct ScopeMissing {
    /// What the caller tried to do.
    pub act: &'static str,
    /// The missing scope.
    pub scope: Scope,
}

/// Which accounts a call reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Unknown: the call ended before it was checked.
    Unknown,
    /// The caller's own, or what is open to all.
    Own,
    /// What requires [`Scope::Admin`]: accounts of others, accounts for others, overdrafts. The caller has the scope, or got
    /// `NOT_FOUND`.
    Beyond,
}

impl Access {
    /// Authorizes a caller for a method.
    ///
    /// # Errors
    /// [`ScopeMissing`], if they lack its scope.
    pub fn grant(caller: Identity, method: Method) -> Result<Self, ScopeMissing> {
        match method.rule().scope {
            Some(scope) if !caller.scopes().contains(scope) => {
                Err(ScopeMissing { act: method.name(), scope })
            }
            _ => Ok(Self { caller, method, extent: Arc::default() }),
        }
    }

    /// Authorizes the same caller for an operation of a batch, as for a call of its own.
    ///
    /// # Errors
    /// [`ScopeMissing`], as [`Access::grant`].
    pub fn of(&self, method: Method) -> Result<Self, ScopeMissing> {
        Self::grant(self.caller.clone(), method)
    }

    /// The caller.
    pub fn caller(&self) -> &Identity {
        &self.caller
    }

    /// Checks that a new account has no other owner and no overdraft, which require [`Scope::Admin`].
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

    /// Whether accounts of this owner are visible to the caller.
    pub fn reaches(&self, owner: &Owner) -> bool {
        self.is_administrative() || self.caller.owns(owner)
    }

    /// The account that the call names first, if it is visible. Any other is treated as if it did not exist, so the error
    /// is the same.
    pub fn primary<'a>(&self, account: Option<&'a Account>) -> Option<&'a Account> {
        // That an id is already in use is not a secret.
        if self.method.rule().accounts == Accounts::Opened {
            return account;
        }
        self.note_owner(account.map(|account| &account.owner));
        account.filter(|account| self.reaches(&account.owner))
    }

    /// The destination of a transfer, if it is visible: any account can be paid, but closed accounts are visible only to
    /// their owners.
    pub fn counterparty<'a>(&self, account: Option<&'a Account>) -> Option<&'a Account> {
        account.filter(|account| account.state != AccountState::Closed || self.reaches(&account.owner))
    }

    /// The owner whose accounts a list contains, given the requested one; `None` for all owners.
    ///
    /// # Errors
    /// [`ScopeMissing`], if another owner is requested by a caller without [`Scope::Admin`].
    pub fn listed(&self, owner: Option<Owner>) -> Result<Option<Owner>, ScopeMissing> {
        let owner = match owner {
            Some(owner) if !self.caller.owns(&owner) => {
                self.administers("listing the accounts of another owner")?;
                Some(owner)
            }
            None if !self.is_administrative() => Some(self.caller.subject().clone()),
            owner => owner,
        };
        // The operator owns every account.
        let is_own = owner.as_ref().map_or(self.caller.is_operator(), |owner| self.caller.owns(owner));
        self.note(if is_own { Extent::Own } else { Extent::Beyond });
        Ok(owner)
    }

    /// Notes what a command reaches, given the account that it names first, if that exists.
    pub fn note_command(&self, command: &Command, account: Option<&Account>) {
        match command {
            Command::OpenAccount(open) if open.overdraft_limit_minor_units() > 0 => self.note(Extent::Beyond),
            Command::OpenAccount(open) => self.note_owner(Some(open.owner())),
            _ => self.note_owner(account.map(|account| &account.owner)),
        }
    }

    /// Notes that the call reached something of this owner, or nothing.
    pub fn note_owner(&self, owner: Option<&Owner>) {
        let is_own = owner.is_none_or(|owner| self.caller.owns(owner));
        self.note(if is_own { Extent::Own } else { Extent::Beyond });
    }

    fn note(&self, extent: Extent) {
        self.extent.fetch_max(extent as u8, Ordering::Relaxed);
    }

    /// Which accounts the call has reached so far.
    pub fn extent(&self) -> Extent {
        let noted = self.extent.load(Ordering::Relaxed);
        [Extent::Own, Extent::Beyond].into_iter().find(|it| *it as u8 == noted).unwrap_or(Extent::Unknown)
    }

    fn is_administrative(&self) -> bool {
        self.caller.scopes().contains(Scope::Admin)
    }
}
