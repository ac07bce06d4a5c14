//! The choices that the bank offers and reports: account types, kinds of entries, day counts.

use bank_proto::v1;

/// The text names none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not one of {}", .known.join(", "))]
pub struct UnknownName {
    /// What was given, cut to a readable length.
    pub name: String,
    /// The names there are.
    pub known: &'static [&'static str],
}

/// An enum that the wire has as a number.
pub(crate) trait Choice {
    fn from_wire(number: i32) -> Self;
    fn to_wire(self) -> i32;
}

/// Defines enums beside those of the same name in `bank.v1`: with one name for printing and parsing, and room for
/// values that a newer server may send.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A value that this version of the client does not know.
            Unrecognized(i32),
        }

        impl $name {
            /// The names of all that this version of the client knows, as `as_str` gives them and
            /// `from_str` takes them.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name as the bank prints it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unrecognized(_) => "unrecognized",
                }
            }
        }

        impl Choice for $name {
            fn from_wire(number: i32) -> Self {
                match v1::$name::try_from(number) {
                    $(Ok(v1::$name::$variant) => Self::$variant,)+
                    Ok(v1::$name::Unspecified) | Err(_) => Self::Unrecognized(number),
                }
            }

            fn to_wire(self) -> i32 {
                match self {
                    $(Self::$variant => v1::$name::$variant.into(),)+
                    Self::Unrecognized(number) => number,
                }
            }
        }

        $crate::json::json_texts! { $name }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownName { name: name.chars().take(32).collect(), known: Self::NAMES }),
                }
            }
        }
    )+};
}

choices! {
    /// What kind of account it is: how far its balance may go down.
    AccountType {
        /// Never below zero.
        Savings = "savings",
        /// Never below minus the overdraft limit.
        Checking = "checking",
    }

    /// What an account may do.
    AccountState {
        /// Everything.
        Active = "active",
        /// Take money in (deposits, incoming transfers), and be unfrozen.
        Frozen = "frozen",
        /// Nothing; its history stays readable.
        Closed = "closed",
    }

    /// What happened to an account.
    EntryKind {
        /// The account was opened.
        AccountOpened = "account_opened",
        /// Money came in from outside.
        Deposit = "deposit",
        /// Money went out of the bank.
        Withdrawal = "withdrawal",
        /// Money went to another account.
        TransferOut = "transfer_out",
        /// Money came from another account.
        TransferIn = "transfer_in",
        /// Interest was booked, of either sign.
        Interest = "interest",
        /// The overdraft limit was set.
        OverdraftLimitSet = "overdraft_limit_set",
        /// The account was frozen.
        AccountFrozen = "account_frozen",
        /// The account was made active again.
        AccountUnfrozen = "account_unfrozen",
        /// The account was closed.
        AccountClosed = "account_closed",
    }

    /// How the days of a period become a fraction of a year (ISDA 2006, 4.16).
    DayCount {
        /// Actual days over 365.
        Act365Fixed = "act_365_fixed",
        /// Actual days over 360.
        Act360 = "act_360",
        /// Days in leap years over 366, the others over 365.
        ActActIsda = "act_act_isda",
        /// Months of 30 days, US bond basis.
        Thirty360Bond = "thirty_360_bond",
        /// Months of 30 days, Eurobond basis.
        ThirtyE360 = "thirty_e_360",
    }

    /// How often interest is added to the principal that earns interest.
    Compounding {
        /// Never.
        Simple = "simple",
        /// Every day.
        Daily = "daily",
        /// Every month.
        Monthly = "monthly",
        /// Every three months.
        Quarterly = "quarterly",
        /// Every year.
        Yearly = "yearly",
    }

    /// How exact interest becomes whole minor units; applied once, at the end.
    RoundingMode {
        /// To the nearest; a tie goes to the even neighbour (2.5 -> 2, -2.5 -> -2).
        HalfEven = "half_even",
        /// To the nearest; a tie goes away from zero (2.5 -> 3, -2.5 -> -3).
        HalfUp = "half_up",
        /// To the nearest; a tie goes toward zero (2.5 -> 2, -2.5 -> -2).
        HalfDown = "half_down",
        /// Toward zero (2.9 -> 2, -2.9 -> -2).
        Down = "down",
        /// Away from zero (2.1 -> 3, -2.1 -> -3).
        Up = "up",
        /// Toward negative infinity (2.9 -> 2, -2.1 -> -3).
        Floor = "floor",
        /// Toward positive infinity (2.1 -> 3, -2.9 -> -2).
        Ceiling = "ceiling",
    }

    /// How firmly a change is kept before it is acknowledged.
    DurabilityLevel {
        /// Not on any disk.
        None = "none",
        /// On its way to the disk: a crash of the machine loses up to two seconds.
        EverySecond = "everysec",
        /// On the disk.
        Always = "always",
    }

    /// Which end of a history comes first.
    ListOrder {
        /// The newest entry first.
        NewestFirst = "newest_first",
        /// The oldest entry first.
        OldestFirst = "oldest_first",
    }

    /// What kind of thing is wrong.
    AuditFindingKind {
        /// The content of an entry does not fit its hash. For the first entry it may be what the account
        /// was opened with.
        EntryChanged = "entry_changed",
        /// An entry is not there.
        EntryRemoved = "entry_removed",
        /// There is an entry that is not part of the history.
        EntryInserted = "entry_inserted",
        /// An entry is in the place of another.
        EntryReordered = "entry_reordered",
        /// An entry fits its hash and breaks a rule of the bank.
        RuleBroken = "rule_broken",
        /// The account is not what its entries make of it.
        AccountChanged = "account_changed",
        /// The entry is dated ahead of the clock: it was written by a server whose clock was wrong.
        AheadOfClock = "ahead_of_clock",
        /// The account is in the list of accounts, and is not there.
        AccountRemoved = "account_removed",
        /// The account or an entry is not something that the bank writes.
        Unreadable = "unreadable",
        /// The other side of a transfer is not there, or is another.
        TransferUnmatched = "transfer_unmatched",
        /// More or less money is held than came in and did not go out.
        MoneyUnbalanced = "money_unbalanced",
    }
}

#[cfg(test)]
mod tests;
