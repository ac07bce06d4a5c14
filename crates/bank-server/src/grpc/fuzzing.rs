//! Entry points for fuzzing: messages of callers, parsed as the server parses them.

#![expect(clippy::missing_errors_doc, reason = "entry points for fuzz targets only")]

use bank_domain::{AccountId, Command, Currency, Owner, RequestId};
use bank_proto::v1;
use prost::Message;
use tonic::Status;

use super::{
    page::{self, Page},
    parse::{
        AccountList, AccountQuery, BalanceQuery, Batch, BatchOperation, Defaults, History, NoFields, Parse,
        TransactionQuery, WatchQuery,
    },
};
use crate::status::{Failure, status};

/// The largest amount of one movement, as the configuration has it.
pub const AMOUNT_MINOR_UNITS_MAX: i64 = 1 << 53;

/// How many kinds of messages [`parse`] knows.
pub const KINDS: u8 = 18;

/// A message that could be decoded.
pub struct Parsed {
    /// The message, encoded again.
    pub encoded: Vec<u8>,
    /// The commands in it, or the error that its caller gets.
    pub outcome: Result<Vec<Command>, Status>,
}

/// Decodes and parses a message of one kind; `None` if it is not a message.
pub fn parse(kind: u8, bytes: &[u8], batch_operations_max: usize) -> Option<Parsed> {
    match kind {
        0 => changing::<v1::CreateAccountRequest>(bytes),
        1 => changing::<v1::DepositRequest>(bytes),
        2 => changing::<v1::WithdrawRequest>(bytes),
        3 => changing::<v1::TransferRequest>(bytes),
        4 => changing::<v1::CalculateInterestRequest>(bytes),
        5 => changing::<v1::SetOverdraftLimitRequest>(bytes),
        6 => changing::<v1::FreezeAccountRequest>(bytes),
        7 => changing::<v1::UnfreezeAccountRequest>(bytes),
        8 => changing::<v1::CloseAccountRequest>(bytes),
        9 => reading::<v1::GetAccountRequest, AccountQuery>(bytes),
        10 => reading::<v1::GetBalanceRequest, BalanceQuery>(bytes),
        11 => reading::<v1::ListAccountsRequest, AccountList>(bytes),
        12 => reading::<v1::ListTransactionsRequest, History>(bytes),
        13 => reading::<v1::GetTransactionRequest, TransactionQuery>(bytes),
        14 => reading::<v1::WatchTransactionsRequest, WatchQuery>(bytes),
        15 => reading::<v1::AuditAccountsRequest, Option<AccountId>>(bytes),
        16 => reading::<v1::ExportBankRequest, NoFields>(bytes),
        _ => parsed(bytes, |message: v1::ExecuteBatchRequest, defaults| {
            let Batch { operations, .. } = Batch::parse(message, defaults, batch_operations_max)?;
            Ok(operations.into_iter().map(|BatchOperation { command, .. }| command).collect())
        }),
    }
}

fn changing<M: Message + Clone + Default>(bytes: &[u8]) -> Option<Parsed>
where
    (Command, Option<RequestId>): Parse<M>,
{
    parsed(bytes, |message, defaults| Ok(vec![<(Command, _)>::parse(message, defaults)?.0]))
}

fn reading<M: Message + Clone + Default, Q: Parse<M>>(bytes: &[u8]) -> Option<Parsed> {
    parsed(bytes, |message, defaults| Q::parse(message, defaults).map(|_| Vec::new()))
}

fn parsed<M: Message + Clone + Default>(
    bytes: &[u8],
    parse: impl FnOnce(M, &Defaults<'_>) -> Result<Vec<Command>, Failure>,
) -> Option<Parsed> {
    let message = M::decode(bytes).ok()?;
    let defaults = Defaults {
        currency: Currency::USD,
        owner: &Owner::default(),
        message_bytes_max: 1 << 16,
        amount_minor_units_max: AMOUNT_MINOR_UNITS_MAX,
    };
    let encoded = message.encode_to_vec();
    Some(Parsed { encoded, outcome: parse(message, &defaults).map_err(status) })
}

/// Parses the token of a page, and writes it again; the error if it is none of this list.
pub fn page_token(size: i32, token: &str, filters: &[&str]) -> Result<String, String> {
    let page = Page::<AccountId>::parse(size, token, filters).map_err(|error| error.to_string())?;
    Ok(page.token())
}

/// The token of the page after this account.
pub fn page_token_after(account_id: &AccountId, filters: &[&str]) -> String {
    page::token(page::digest(filters), Some(account_id))
}
