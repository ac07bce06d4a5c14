//! An async client of the bank.
//!
//! ```no_run
//! use bank_client::{AccountType, BankClient, Currency, Error, Money, Rejection};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = BankClient::connect("http://127.0.0.1:50051").await?;
//! client.create_account("alice", AccountType::Savings).currency(Currency::USD).await?;
//!
//! let salary = Money::parse_decimal("1000.00", Currency::USD)?;
//! let receipt = client.deposit("alice", salary).description("salary for May").await?;
//! assert_eq!(receipt.message, "Successfully deposited $1000.00");
//!
//! let dream = Money::parse_decimal("5000.00", Currency::USD)?;
//! match client.withdraw("alice", dream).await {
//!     Ok(receipt) => println!("{} are left", receipt.balance),
//!     Err(Error::Rejected { rejection: Rejection::InsufficientFunds { available, .. }, .. }) => {
//!         println!("{available} is all there is");
//!     }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Calls
//!
//! Every method of [`BankClient`] makes a [`Call`]. Options are set on it, and `.await` makes it:
//! `client.deposit("alice", amount).description("rent").await?`. Lists also give a
//! [`stream`](Call::stream).
//!
//! # Batches
//!
//! A [`Batch`] is many operations in one call, each with its own outcome or all or none. A [`Stream`] sends batch
//! after batch. Thousands of operations cost as much as a few calls that way.
//!
//! # Retries
//!
//! Every call that changes something has a request id, its idempotency key. Temporary failures are retried
//! with the same id, as the [`RetryPolicy`] allows, and the bank executes the call once. If the outcome stays
//! unknown, the error says so ([`Error::outcome_unknown`]) and names the id to repeat the call with.
//!
//! # Several servers
//!
//! A bank may have several servers ([`Builder::endpoint`]). The calls for an account go to one of them, and to another
//! one while that cannot be reached.
//!
//! # Watches
//!
//! [`BankClient::watch`] streams entries as they are written. It reconnects by itself after lost connections and
//! restarts of the bank, without a gap or a repetition.
//!
//! # Money
//!
//! [`Money`] is whole minor units of a [`Currency`], exact; it reads and prints decimals.

mod api;
mod audit;
mod backup;
mod batch;
mod builder;
mod call;
mod choice;
mod client;
mod error;
pub mod json;
mod method;
mod model;
mod news;
mod operation;
mod renewal;
mod reply;
mod retry;
mod server_info;
mod servers;
mod stream;
mod token;
mod watch;
mod wire;

pub use api::Route;
pub use audit::{AuditBooks, AuditFinding, AuditNews, AuditProgress, AuditSummary};
pub use backup::{ExportNews, ExportProgress, ExportSummary, ImportNews, ImportProgress, ImportSummary};
pub use bank_domain::{
    AccountId, Currency, EntryHash, InvalidCurrency, InvalidEntryHash, InvalidId, InvalidMoney,
    InvalidTimestamp, Money, MoneySum, Overflow, Rejection, RequestId, Timestamp,
};
pub use batch::{Batch, Results};
pub use builder::Builder;
pub use call::Call;
pub use choice::{
    AccountState, AccountType, AuditFindingKind, Compounding, DayCount, DurabilityLevel, EntryKind,
    ListOrder, RoundingMode, UnknownName,
};
pub use client::BankClient;
pub use error::{Error, FieldViolation};
pub use futures::{StreamExt, TryStreamExt};
pub use model::{Account, Entry, InterestBreakdown, InterestTerms, Transaction, TransactionId};
pub use operation::{BriefReceipt, Done, Operation};
pub use reply::{AccountReceipt, Balance, InterestReceipt, Page, Receipt};
pub use retry::RetryPolicy;
pub use server_info::{Durability, LostWrites, ServerInfo, ServerLimits, StoreInfo};
pub use stream::Stream;
pub use token::{TokenError, TokenSource};
pub use tonic::Status;
pub use watch::WatchNews;

/// The methods of the bank: the type parameter of [`Call`].
pub mod methods {
    pub use crate::method::{
        AuditAccounts, CalculateInterest, CloseAccount, CreateAccount, Deposit, Described, FreezeAccount,
        GetAccount, GetBalance, GetServerInfo, GetTransaction, ListAccounts, ListTransactions, Method,
        Mutation, Paged, SetOverdraftLimit, Transfer, UnfreezeAccount, WatchTransactions, Withdraw,
    };
}

/// The TLS configuration for [`Builder::tls`].
pub mod tls {
    pub use tonic::transport::{Certificate, ClientTlsConfig, Identity};
}
