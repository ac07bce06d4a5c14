//! The operations of batches, and their outcomes.

use bank_domain::{Money, RequestId};
use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use prost::Message as _;
use tonic::{Code, Status};

use crate::{
    Error,
    call::Call,
    method::{
        CalculateInterest, CloseAccount, CreateAccount, Deposit, FreezeAccount, Method as _,
        SetOverdraftLimit, Transfer, UnfreezeAccount, Withdraw,
    },
    model::TransactionId,
    reply::{AccountReceipt, InterestReceipt, Receipt},
    wire::{FromWire, Malformed, count, parsed},
};

/// One operation of a [`Batch`](crate::Batch): a [`Call`] that changes an account and has not been made, with
/// its options and its request id.
///
/// ```no_run
/// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
/// use bank_client::{Currency, Money, Operation};
///
/// let salary = Money { currency: Currency::USD, minor_units: 250_000 };
/// let operation = Operation::from(client.deposit("alice", salary).description("salary for May"));
/// assert!(operation.request_id().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) kind: Kind,
    request_id: Option<RequestId>,
}

/// An operation of a batch that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// A calculation of interest.
    Interest(InterestReceipt),
    /// An account was opened.
    Opened(AccountReceipt),
    /// Money was moved, an overdraft limit was set, or an account was frozen, unfrozen or closed.
    Changed(Receipt),
    /// Any of them, in brief: see [`Batch::brief`](crate::Batch::brief).
    Brief(BriefReceipt),
}

/// The least that a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BriefReceipt {
    /// The movement.
    pub transaction_id: TransactionId,
    /// Of the entry on the account that the operation names first.
    pub sequence: u64,
    /// What was added to the balance of that account; negative for what was taken, zero if no money moved.
    pub amount: Money,
    /// The balance of that account with it.
    pub balance: Money,
    /// Whether an earlier call with the same request id did it, and this is that call's reply.
    pub replayed: bool,
}

impl Operation {
    /// The request id, under which it is carried out once however often it is sent; none for a dry run, or if the id is
    /// invalid.
    pub fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// The account that it names first.
    pub(crate) fn account(&self) -> &str {
        account(&self.kind)
    }

    /// The same without a request id, for dry runs only: it saves the bank from keeping one that comes up once.
    /// Carried out, it could be carried out twice.
    #[must_use]
    pub fn without_request_id(mut self) -> Self {
        self.request_id = None;
        request_id_mut(&mut self.kind).clear();
        self
    }
}

macro_rules! operations {
    ($($method:ident),+ $(,)?) => {
        fn account(kind: &Kind) -> &str {
            match kind {
                $(Kind::$method(request) => &request.account_id,)+
            }
        }

        fn request_id_mut(kind: &mut Kind) -> &mut String {
            match kind {
                $(Kind::$method(request) => &mut request.request_id,)+
            }
        }

        $(impl From<Call<$method>> for Operation {
            fn from(call: Call<$method>) -> Self {
                let method = call.into_method();
                let request_id = method.changes_under();
                Self { kind: Kind::$method(method.into()), request_id }
            }
        })+
    };
}

operations! {
    CalculateInterest, CloseAccount, CreateAccount, Deposit, FreezeAccount, SetOverdraftLimit, Transfer,
    UnfreezeAccount, Withdraw,
}

impl Done {
    /// The least that a receipt says, of whatever operation.
    pub fn brief(&self) -> BriefReceipt {
        let (entry, balance, replayed) = match self {
            Self::Changed(receipt) => (&receipt.entry, receipt.balance, receipt.replayed),
            Self::Interest(receipt) => (&receipt.entry, receipt.balance, receipt.replayed),
            Self::Opened(receipt) => (&receipt.entry, receipt.account.balance, receipt.replayed),
            Self::Brief(receipt) => return receipt.clone(),
        };
        BriefReceipt {
            transaction_id: entry.transaction_id.clone(),
            sequence: entry.sequence,
            amount: entry.amount,
            balance,
            replayed,
        }
    }
}

impl FromWire<v1::OperationReceipt> for BriefReceipt {
    fn from_wire(wire: v1::OperationReceipt) -> Result<Self, Malformed> {
        let currency = parsed("currency_code", wire.currency_code)?;
        Ok(Self {
            transaction_id: wire.transaction_id.into(),
            sequence: count("sequence", wire.sequence)?,
            amount: Money { currency, minor_units: wire.amount_minor_units },
            balance: Money { currency, minor_units: wire.balance_minor_units },
            replayed: wire.replayed,
        })
    }
}

/// What the bank says of an operation of this request id.
pub(crate) fn result(
    wire: v1::OperationResult,
    request_id: Option<&RequestId>,
) -> Result<Result<Done, Error>, Malformed> {
    let outcome = wire.outcome.ok_or_else(|| Malformed("outcome is missing".to_owned()))?;
    Ok(Ok(match outcome {
        Outcome::Deposit(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::Withdraw(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::Transfer(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::CalculateInterest(wire) => Done::Interest(InterestReceipt::from_wire(*wire)?),
        Outcome::CreateAccount(wire) => Done::Opened(AccountReceipt::from_wire(*wire)?),
        Outcome::SetOverdraftLimit(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::FreezeAccount(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::UnfreezeAccount(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::CloseAccount(wire) => Done::Changed(Receipt::from_wire(*wire)?),
        Outcome::Receipt(wire) => Done::Brief(BriefReceipt::from_wire(wire)?),
        Outcome::Error(wire) => return Ok(Err(error(wire, request_id))),
    }))
}

/// What the bank says of an operation, or of a batch, that was not carried out.
pub(crate) fn error(wire: v1::OperationError, request_id: Option<&RequestId>) -> Error {
    // Field by field a google.rpc.Status, which the details of a status are.
    let details = wire.encode_to_vec();
    let status = Status::with_details(Code::from(wire.code), wire.message, details.into());
    Error::from_status(status, request_id)
}
