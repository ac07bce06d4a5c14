//! What calls return.

use bank_domain::{AccountId, Money, Timestamp};
use bank_proto::v1;

use crate::{
    model::{Account, Entry, InterestBreakdown, Transaction},
    wire::{FromWire, Malformed, all, from_wire, parsed, required, text_if_any},
};

/// The outcome of a deposit, a withdrawal, a transfer or a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The source, for a transfer.
    pub account_id: AccountId,
    /// What was done, for people: `Successfully deposited $1000.00`.
    pub message: String,
    /// The balance of the account with it.
    pub balance: Money,
    /// The entry that was written, or would be if the call was only validated.
    pub entry: Entry,
    /// Whether this is the reply to an earlier call with the same request id.
    pub replayed: bool,
}

from_wire! {
    /// An account was opened.
    pub struct AccountReceipt from CreateAccountResponse {
        /// What was done, for people: `Account 123 created successfully`.
        message: String = plain(message),
        /// The account as it was opened.
        account: Account = required(account),
        /// Its first entry.
        entry: Entry = required(entry),
        /// Whether this is the reply to an earlier call with the same request id.
        replayed: bool = plain(replayed),
    }

    /// Interest was calculated, and booked unless it was only validated.
    pub struct InterestReceipt from CalculateInterestResponse {
        /// The account that earned it.
        account_id: AccountId = parsed(account_id),
        /// What was done, for people: `Applied annual interest rate of 2.5000% to bank amount of $500.00
        /// for interest amount of $12.50`.
        message: String = plain(message),
        /// The interest; may be negative or zero.
        interest: Money = required(interest),
        /// How it came about.
        breakdown: InterestBreakdown = required(breakdown),
        /// The balance with it.
        balance: Money = required(balance),
        /// The entry that was written, or would be if the call was only validated.
        entry: Entry = required(entry),
        /// Whether this is the reply to an earlier call with the same request id.
        replayed: bool = plain(replayed),
    }

    /// What an account holds, now or at a past time.
    pub struct Balance from GetBalanceResponse {
        /// The account.
        account_id: AccountId = parsed(account_id),
        /// For people: `Balance: $1000.00`.
        message: String = plain(message),
        /// What it holds.
        balance: Money = required(balance),
        /// What a withdrawal can take now: the balance and the unused overdraft. None for a past time.
        available: Option<Money> = optional(available),
        /// The time of the newest entry that the balance includes.
        updated_at: Timestamp = required(update_time),
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// May be fewer than asked for, even none, before the last page.
    pub items: Vec<T>,
    /// Where the next page starts; none after the last.
    pub next_page_token: Option<String>,
}

/// Reads a receipt from each of the replies that have its fields.
macro_rules! receipts {
    ($($response:ident),+ $(,)?) => {$(
        impl FromWire<v1::$response> for Receipt {
            fn from_wire(wire: v1::$response) -> Result<Self, Malformed> {
                Ok(Self {
                    account_id: parsed("account_id", wire.account_id)?,
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
        let next_page_token = text_if_any("next_page_token", wire.next_page_token)?;
        Ok(Self { items: all("accounts", wire.accounts)?, next_page_token })
    }
}

impl FromWire<v1::ListTransactionsResponse> for Page<Entry> {
    fn from_wire(wire: v1::ListTransactionsResponse) -> Result<Self, Malformed> {
        let next_page_token = text_if_any("next_page_token", wire.next_page_token)?;
        Ok(Self { items: all("entries", wire.entries)?, next_page_token })
    }
}
