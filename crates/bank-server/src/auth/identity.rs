//! The identity of a caller.

use std::fmt;

use bank_domain::Owner;
use strum::VariantArray as _;

/// A caller: a subject with scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Empty only for the operator.
    subject: Owner,
    scopes: Scopes,
}

/// What a caller may do. No scope includes another: a caller who sees everything need not be able to move money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString, strum::VariantArray)]
pub enum Scope {
    /// Read one's own accounts.
    #[strum(serialize = "bank.read")]
    Read,
    /// Open accounts, move money from one's own, and transfer to any.
    #[strum(serialize = "bank.write")]
    Write,
    /// Freeze, unfreeze and close accounts, set overdraft limits and post interest; use the other two scopes on all
    /// accounts.
    #[strum(serialize = "bank.admin")]
    Admin,
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// The text is not a valid subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} visible ASCII characters", Owner::LENGTH_MAX)]
pub struct InvalidSubject;

impl Identity {
    /// A caller by subject, who owns the accounts that they open.
    ///
    /// # Errors
    /// [`InvalidSubject`] for a name that cannot own an account, including the empty one.
    pub fn try_new(subject: &str, scopes: Scopes) -> Result<Self, InvalidSubject> {
        let subject: Owner = subject.parse().map_err(|_| InvalidSubject)?;
        if subject.is_empty() { Err(InvalidSubject) } else { Ok(Self { subject, scopes }) }
    }

    /// The caller of a server without authentication, who may do everything.
    pub fn operator() -> Self {
        Self { subject: Owner::default(), scopes: Scopes::ALL }
    }

    /// The subject; empty for the operator.
    pub fn subject(&self) -> &Owner {
        &self.subject
    }

    /// What the caller may do.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether this is the caller of a server without authentication.
    pub fn is_operator(&self) -> bool {
        self.subject.is_empty()
    }

    /// Whether accounts of this owner belong to the caller. The operator owns all accounts.
    pub fn owns(&self, owner: &Owner) -> bool {
        self.is_operator() || self.subject == *owner
    }
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    /// Parses scopes separated by spaces, as in the claim `scope` of a token. Unknown names are ignored: they are for other
    /// services.
    /// <https://datatracker.ietf.org/doc/html/rfc8693#section-4.2>
    pub fn parse(list: &str) -> Self {
        list.split(' ').filter_map(|name| name.parse::<Scope>().ok()).collect()
    }

    /// Whether this scope is included.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | (1 << scope as u8)))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = Scope::VARIANTS.iter().filter(|scope| self.contains(**scope));
        f.write_str(&scopes.map(Scope::to_string).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests;
