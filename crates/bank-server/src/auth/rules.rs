//! What a caller needs, for every method of the bank: one line each.
//!
//! A test holds the table against the description of the API, and another calls every method as
//! somebody who may not.

use bank_proto::v1::bank_service_server::SERVICE_NAME;

use super::Scope;

/// What a method is to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The scope that its caller needs; none where each operation needs that of its own method.
    pub scope: Option<Scope>,
    /// The accounts that its caller may name. [`Scope::Admin`] opens all of them.
    pub accounts: Accounts,
}

/// Accounts that a caller may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// One that is yet to be: the caller's own, and without an overdraft.
    Opened,
    /// Their own. Any other is as if it did not exist.
    Own,
    /// Their own as the source; any that is not closed as the destination.
    OwnToAny,
    /// Their own; those of others are left out.
    Listed,
    /// It names none.
    Unnamed,
    /// All of them: the method itself needs [`Scope::Admin`].
    All,
    /// Those of its operations, each as in a call of its own.
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

            /// The name, as the API has it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$method => stringify!($method),)*
                }
            }

            /// What its caller needs.
            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$method => Rule { scope: methods!(@scope $scope), accounts: Accounts::$accounts },)*
                }
            }
        }
    };
}

impl Method {
    /// The method that an HTTP path is of: `/bank.v1.BankService/Deposit`.
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

/// The services besides the bank. They tell nothing of the accounts, and ask nobody for a scope.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bank_proto::FILE_DESCRIPTOR_SET;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_of_the_api_has_its_rule_and_there_are_no_others() {
        let described = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = BTreeSet::new();
        for file in &described.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                assert_eq!(name, SERVICE_NAME, "a service that this test does not know");
                methods.extend(service.method.iter().map(|method| method.name().to_owned()));
            }
        }
        let ruled: BTreeSet<_> = Method::ALL.iter().map(|method| method.name().to_owned()).collect();
        assert_eq!(methods, ruled, "give the new method a line in the table above");
    }

    #[test]
    fn methods_are_found_by_their_paths() {
        assert_eq!(Method::of_path("/bank.v1.BankService/Deposit"), Some(Method::Deposit));
        for path in [
            "",
            "/",
            "Deposit",
            "/bank.v1.BankService",
            "/bank.v1.BankService/",
            "/grpc.health.v1.Health/Check",
        ] {
            assert_eq!(Method::of_path(path), None, "{path:?}");
        }
    }

    #[test]
    fn all_accounts_are_for_the_scope_of_administration_only() {
        for method in Method::ALL {
            let Rule { scope, accounts } = method.rule();
            assert_eq!(scope == Some(Scope::Admin), accounts == Accounts::All, "{method:?}");
        }
    }
}
