//! What the bank answers.

use bank_domain::{AccountId, Money, Timestamp};
use bank_proto::v1;

use crate::{
    Account, Entry, InterestBreakdown, Transaction,
    wire::{FromWire, Malformed, all, optional, parsed, required},
};

/// What was done to an account: by a deposit, a withdrawal, a transfer or a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The account; the source, for a transfer.
    pub account_id: AccountId,
    /// What was done, for people: `Successfully deposited $1000.00`.
    pub message: String,
    /// The balance of the account with it.
    pub balance: Money,
    /// The entry that it wrote, or would write if it was only validated.
    pub entry: Entry,
    /// Whether an earlier call with the same request id did it, and this is that call's reply.
    pub replayed: bool,
}

/// An account was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountReceipt {
    /// What was done, for people: `Account 123 created successfully`.
    pub message: String,
    /// The account as it was opened.
    pub account: Account,
    /// Its first entry.
    pub entry: Entry,
    /// Whether an earlier call with the same request id did it, and this is that call's reply.
    pub replayed: bool,
}

/// Interest was calculated, and booked unless it was only validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestReceipt {
    /// The account that earned it.
    pub account_id: AccountId,
    /// What was done, for people: `Applied annual interest rate of 2.5000% to bank amount of $500.00
    /// for interest amount of $12.50`.
    pub message: String,
    /// The interest; may be negative or zero.
    pub interest: Money,
    /// How it came about.
    pub breakdown: InterestBreakdown,
    /// The balance with it.
    pub balance: Money,
    /// The entry that it wrote, or would write if it was only validated.
    pub entry: Entry,
    /// Whether an earlier call with the same request id did it, and this is that call's reply.
    pub replayed: bool,
}

/// What an account holds, now or at a past time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The account.
    pub account_id: AccountId,
    /// For people: `Balance: $1000.00`.
    pub message: String,
    /// What it holds.
    pub balance: Money,
    /// What a withdrawal can take now: the balance and the unused overdraft. None for a past time.
    pub available: Option<Money>,
    /// The time of the newest entry that the balance includes.
    pub updated_at: Timestamp,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// May be fewer than asked for, even none, before the last page.
    pub items: Vec<T>,
    /// Where the next page starts; none after the last.
    pub next_page_token: Option<String>,
}

impl<T> Page<T> {
    fn read<W>(items: Vec<W>, next_page_token: String) -> Result<Self, Malformed>
    where
        T: FromWire<W>,
    {
        let next_page_token = Some(next_page_token).filter(|token| !token.is_empty());
        Ok(Self { items: all(items)?, next_page_token })
    }
}

/// Reads a receipt from each of the replies that have its fields.
macro_rules! receipts {
    ($($response:ident),+ $(,)?) => {$(
        impl FromWire<v1::$response> for Receipt {
            fn from_wire(wire: v1::$response) -> Result<Self, Malformed> {
                Ok(Self {
                    account_id: parsed("account_id", &wire.account_id)?,
                    message: wire.message,
                    balance: required("balance", wire.balance)?,
                    entry: required("entry", wire.entry)?,
                    replayed: wire.replayed,
                })
            }
        }
    )+};
}

receipts! {
    DepositResponse,
    WithdrawResponse,
    TransferResponse,
    SetOverdraftLimitResponse,
    FreezeAccountResponse,
    UnfreezeAccountResponse,
    CloseAccountResponse,
}

impl FromWire<v1::CreateAccountResponse> for AccountReceipt {
    fn from_wire(wire: v1::CreateAccountResponse) -> Result<Self, Malformed> {
        Ok(Self {
            message: wire.message,
            account: required("account", wire.account)?,
            entry: required("entry", wire.entry)?,
            replayed: wire.replayed,
        })
    }
}

impl FromWire<v1::CalculateInterestResponse> for InterestReceipt {
    fn from_wire(wire: v1::CalculateInterestResponse) -> Result<Self, Malformed> {
        Ok(Self {
            account_id: parsed("account_id", &wire.account_id)?,
            message: wire.message,
            interest: required("interest", wire.interest)?,
            breakdown: required("breakdown", wire.breakdown)?,
            balance: required("balance", wire.balance)?,
            entry: required("entry", wire.entry)?,
            replayed: wire.replayed,
        })
    }
}

impl FromWire<v1::GetBalanceResponse> for Balance {
    fn from_wire(wire: v1::GetBalanceResponse) -> Result<Self, Malformed> {
        Ok(Self {
            account_id: parsed("account_id", &wire.account_id)?,
            message: wire.message,
            balance: required("balance", wire.balance)?,
            available: optional(wire.available)?,
            updated_at: required("update_time", wire.update_time)?,
        })
    }
}

impl FromWire<v1::GetAccountResponse> for Account {
    fn from_wire(wire: v1::GetAccountResponse) -> Result<Self, Malformed> {
        required("account", wire.account)
    }
}

impl FromWire<v1::GetTransactionResponse> for Transaction {
    fn from_wire(wire: v1::GetTransactionResponse) -> Result<Self, Malformed> {
        required("transaction", wire.transaction)
    }
}

impl FromWire<v1::ListAccountsResponse> for Page<Account> {
    fn from_wire(wire: v1::ListAccountsResponse) -> Result<Self, Malformed> {
        Self::read(wire.accounts, wire.next_page_token)
    }
}

impl FromWire<v1::ListTransactionsResponse> for Page<Entry> {
    fn from_wire(wire: v1::ListTransactionsResponse) -> Result<Self, Malformed> {
        Self::read(wire.entries, wire.next_page_token)
    }
}
