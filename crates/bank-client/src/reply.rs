//! What calls return.

use bank_domain::{AccountId, Money, Timestamp};
use bank_proto::v1;

use crate::{
    json::json_object,
    model::{Account, Entry, InterestBreakdown, Transaction},
    wire::{FromWire, Malformed, all, from_wire, required, text_if_any},
};

from_wire! {
    /// The outcome of a deposit, a withdrawal, a transfer or a change of state.
    pub struct Receipt from DepositResponse {
        /// The source, for a transfer.
        account_id: AccountId = parsed(account_id),
        /// What was done, for people: `Successfully deposited $1000.00`.
        message: String = plain(message),
        /// The balance of the account with it.
        balance: Money = required(balance),
        /// The entry that was written, or would be if the call was only validated.
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
        /// The balance with it.
        balance: Money = required(balance),
        /// The entry that was written, or would be if the call was only validated.
        entry: Entry = required(entry),
        /// Whether this is the reply to an earlier call with the same request id.
        replayed: bool = plain(replayed),
        /// The interest; may be negative or zero.
        interest: Money = required(interest),
        /// How it came about.
        breakdown: InterestBreakdown = required(breakdown),
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

json_object! { AccountReceipt, |receipt| {
    "account_id" => receipt.account.account_id,
    "message" => receipt.message,
    "balance" => receipt.account.balance,
    "entry" => receipt.entry,
    "replayed" => receipt.replayed,
    "account" => receipt.account,
} }

/// An account was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountReceipt {
    /// What was done, for people: `Account 123 created successfully`.
    pub message: String,
    /// The account as it was opened.
    pub account: Account,
    /// Its first entry.
    pub entry: Entry,
    /// Whether this is the reply to an earlier call with the same request id.
    pub replayed: bool,
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

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// May be fewer than asked for, even none, before the last page.
    pub items: Vec<T>,
    /// Where the next page starts; none after the last.
    pub next_page_token: Option<String>,
}

/// Reads a receipt from other replies with the same fields.
macro_rules! receipts {
    ($($response:ident),+ $(,)?) => {$(
        impl FromWire<v1::$response> for Receipt {
            fn from_wire(wire: v1::$response) -> Result<Self, Malformed> {
                let v1::$response { account_id, message, balance, entry, replayed } = wire;
                Self::from_wire(v1::DepositResponse { account_id, message, balance, entry, replayed })
            }
        }
    )+};
}

receipts! {
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
