//! A caller whose name and leave are known.

use std::fmt;

use bank_domain::Owner;

/// Who calls, and what they have leave to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Empty for the operator only.
    subject: Owner,
    scopes: Scopes,
}

/// What a caller may have leave to do. No scope includes another: whoever sees everything need not
/// be able to move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read one's own accounts.
    Read,
    /// Open accounts, move money from one's own, and pay into any by transfer.
    Write,
    /// Freeze, unfreeze and close accounts, set overdraft limits, book interest; and use the other two
    /// scopes on other people's accounts.
    Admin,
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// The text cannot name a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} visible ASCII characters", Owner::LENGTH_MAX)]
pub struct InvalidSubject;

impl Identity {
    /// A caller by name. The accounts that they open belong to that name.
    ///
    /// # Errors
    /// [`InvalidSubject`] for a name that cannot own an account, an empty one among them.
    pub fn try_new(subject: &str, scopes: Scopes) -> Result<Self, InvalidSubject> {
        let subject: Owner = subject.parse().map_err(|_| InvalidSubject)?;
        if subject.is_empty() { Err(InvalidSubject) } else { Ok(Self { subject, scopes }) }
    }

    /// Whoever reaches a server that asks nobody for a name: may do everything, to every account.
    pub fn operator() -> Self {
        Self { subject: Owner::default(), scopes: Scopes::ALL }
    }

    /// The name; empty for the operator.
    pub fn subject(&self) -> &Owner {
        &self.subject
    }

    /// What they have leave to do.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether it is whoever reaches a server that asks nobody for a name.
    pub fn is_operator(&self) -> bool {
        self.subject.is_empty()
    }

    /// Whether accounts of this owner are theirs. Nothing belongs to anybody else in the eyes of the
    /// operator.
    pub fn owns(&self, owner: &Owner) -> bool {
        self.is_operator() || self.subject == *owner
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The name as tokens have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "bank.read",
            Self::Write => "bank.write",
            Self::Admin => "bank.admin",
        }
    }

    /// The scope of this name, to the letter.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(Scope::Read.bit() | Scope::Write.bit() | Scope::Admin.bit());

    /// The scopes of a list with spaces between, as the claim `scope` of a token has it. Names that
    /// are not the bank's are for other services, and mean nothing here.
    /// <https://datatracker.ietf.org/doc/html/rfc8693#section-4.2>
    pub fn parse(list: &str) -> Self {
        list.split(' ').filter_map(Scope::named).collect()
    }

    /// Whether it has this one.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scopes = Scope::ALL.into_iter().filter(|scope| self.contains(*scope));
        if let Some(first) = scopes.next() {
            write!(f, "{first}")?;
        }
        scopes.try_for_each(|scope| write!(f, " {scope}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_tokens_have_them() {
        for (list, expected) in [
            ("", ""),
            ("bank.read", "bank.read"),
            ("bank.admin openid bank.write", "bank.write bank.admin"),
            ("bank.read bank.read", "bank.read"),
            ("BANK.READ bank bank.reads bank.read,bank.write", ""),
        ] {
            assert_eq!(Scopes::parse(list).to_string(), expected, "{list:?}");
        }
        assert_eq!(Scopes::parse("bank.read bank.write bank.admin"), Scopes::ALL);
        assert!(!Scopes::parse("bank.admin").contains(Scope::Read), "no scope includes another");
    }

    #[test]
    fn only_the_operator_has_no_name() {
        for bad in ["", "a b", "é", "a\n", &"a".repeat(129)] {
            assert_eq!(Identity::try_new(bad, Scopes::ALL), Err(InvalidSubject), "{bad:?}");
        }
        let (alice, bob): (Owner, Owner) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let caller = Identity::try_new("alice", Scopes::ALL).unwrap();
        assert!(caller.owns(&alice) && !caller.owns(&bob) && !caller.owns(&Owner::default()));
        assert!(Identity::operator().owns(&alice) && Identity::operator().owns(&Owner::default()));
    }
}
