//! The authorization rule of every method, as one table.
//!
//! A test compares the table with the API, and another calls every method without the scope.

use bank_proto::v1::bank_service_server::SERVICE_NAME;

use super::Scope;

/// The authorization rule of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The required scope; none if each operation requires the scope of its own method.
    pub scope: Option<Scope>,
    /// The accounts that its caller may name. [`Scope::Admin`] allows all.
    pub accounts: Accounts,
}

/// Accounts that a caller may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// A new one: for the caller, without an overdraft.
    Opened,
    /// Their own. Any other is treated as if it did not exist.
    Own,
    /// Their own as the source; any that is not closed as the destination.
    OwnToAny,
    /// Their own; those of others are left out.
    Listed,
    /// None.
    Unnamed,
    /// All: the method itself requires [`Scope::Admin`].
    All,
    /// Those of its operations, as in calls of their own.
    Each,
}

macro_rules! methods {
    (@scope Each) => { None };
    (@scope $scope:ident) => { Some(Scope::$scope) };
    ($($method:ident $scope:ident $accounts:ident)*) => {
        /// A method of the bank.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the proto files document every method")]
        pub enum Method {
            $($method,)*
        }

        impl Method {
            /// Every method.
            pub const ALL: &[Self] = &[$(Self::$method,)*];

            /// The name in the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$method => stringify!($method),)*
                }
            }

            /// Its authorization rule.
            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$method => Rule { scope: methods!(@scope $scope), accounts: Accounts::$accounts },)*
                }
            }
        }
    };
}

impl Method {
    /// The method of an HTTP path such as `/bank.v1.BankService/Deposit`.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?.strip_prefix('/')?;
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }
}

methods! {
    // method           scope   accounts
    CreateAccount       Write   Opened
    GetAccount          Read    Own
    ListAccounts        Read    Listed
    GetBalance          Read    Own
    Deposit             Write   Own
    Withdraw            Write   Own
    Transfer            Write   OwnToAny
    CalculateInterest   Admin   All
    ListTransactions    Read    Own
    GetTransaction      Read    Own
    SetOverdraftLimit   Admin   All
    FreezeAccount       Admin   All
    UnfreezeAccount     Admin   All
    CloseAccount        Admin   All
    GetServerInfo       Read    Unnamed
    AuditAccounts       Admin   All
    ExportBank          Admin   All
    ImportBank          Admin   All
    WatchTransactions   Read    Own
    ExecuteBatch        Each    Each
    ExecuteStream       Each    Each
}

/// The other services. They reveal nothing about accounts, and require no scope.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

#[cfg(test)]
mod tests;
