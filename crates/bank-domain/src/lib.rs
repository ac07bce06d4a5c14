//! The rules of the bank, and nothing else.
//!
//! This crate knows money, accounts, entries, the commands that change them and the arithmetic of
//! interest. It does no I/O, reads no clock and draws no randomness: the time is an argument, and
//! equal inputs give equal results. All of it is exact integer and rational arithmetic; no float
//! appears anywhere.
//!
//! The centre is [`decide`]: given the accounts as they are, a [`Command`] and the time, it returns
//! the [`Plan`] of what to write, or the [`Rejection`] that says why nothing may be.
//!
//! Entries are tied together by hashes ([`chain`]), and [`audit`] says whether a history is what the
//! bank has written.
//!
//! ```
//! use bank_domain::{
//!     Account, AccountId, AccountType, Amount, Command, Context, Currency, Deposit, Description,
//!     Labels, OpenAccount, Owner, Timestamp, decide,
//! };
//!
//! let now = Timestamp::try_from_unix_ms(1_767_225_600_000)?;
//! let id: AccountId = "123".parse()?;
//! let usd: Currency = "USD".parse()?;
//!
//! let open = Command::OpenAccount(OpenAccount::try_new(
//!     id.clone(),
//!     AccountType::Savings,
//!     usd,
//!     Owner::default(),
//!     Labels::default(),
//!     None,
//! )?);
//! let opened = decide(|_| None, &open, &Context { now, ahead_max: std::time::Duration::MAX, request_id: None })?.primary.account;
//!
//! let deposit = Command::Deposit(Deposit {
//!     account_id: id.clone(),
//!     amount: Amount::try_new(None, 100_000)?,
//!     description: Description::default(),
//! });
//! let plan = decide(|wanted| (*wanted == id).then_some(&opened), &deposit, &Context { now, ahead_max: std::time::Duration::MAX, request_id: None })?;
//! assert_eq!(plan.primary.account.balance.to_string(), "$1000.00");
//! assert_eq!(plan.primary.entry.sequence, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
pub mod audit;
pub mod chain;
mod command;
mod decide;
mod encoding;
mod entry;
mod fingerprint;
mod hash;
mod id;
pub mod interest;
mod money;
mod names;
mod newtype;
mod redact;
mod text;
mod time;
pub mod visible;

pub use account::{Account, AccountState, AccountType};
pub use command::{
    ApplyInterest, ChangeState, Command, Deposit, InvalidOpenAccount, InvalidTransfer, OpenAccount,
    SetOverdraftLimit, Transfer, Withdraw,
};
pub use decide::{Change, Context, Plan, Rejection, decide};
pub use entry::{Entry, EntryId, EntryKind, InvalidTransactionId, TransactionId};
pub use fingerprint::Fingerprint;
pub use hash::{EntryHash, InvalidEntryHash};
pub use id::{AccountId, InvalidId, RequestId};
pub use money::{
    Amount, Currency, InvalidAmount, InvalidCurrency, InvalidMoney, Money, MoneySum, OverdraftLimit,
    Overflow, RequestedAmount, WithdrawnCurrency,
};
pub use names::UnknownName;
pub use redact::redacted;
pub use text::{Description, InvalidDescription, InvalidLabels, InvalidOwner, Labels, Owner};
pub use time::{InvalidTimestamp, Timestamp};
