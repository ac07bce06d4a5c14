//! Reads messages: the one place where what callers send becomes commands and queries.
//!
//! Every violation of a message is collected, so that a caller hears of all of them at once.

mod batch;
mod choices;
mod violations;
mod watch;

use std::collections::BTreeMap;

use bank_domain::{
    AccountId, AccountState, AccountType, ApplyInterest, ChangeState, Command, Currency, Deposit,
    Description, EntryId, InvalidOpenAccount, Labels, OpenAccount, Owner, RequestId, SetOverdraftLimit,
    Timestamp, TransactionId, Transfer, Withdraw,
    interest::{AnnualRate, DateRange, InvalidDateRange, Period, Terms},
};
use bank_proto::v1;
use bank_store::Order;
use futures::{StreamExt as _, stream::BoxStream};
use tonic::Streaming;

pub(super) use self::batch::{Batch, Operation};
use self::violations::Violations;
pub(super) use self::watch::WatchQuery;
use super::page::Page;
use crate::status::{Failure, Limit, LimitKind};

/// How many kinds of entries there are.
const ENTRY_KINDS_MAX: usize = 10;

/// What stands for what a message leaves out, and what bounds what it has.
pub(super) struct Assumed<'a> {
    /// The currency of an account that is opened without one.
    pub(super) currency: Currency,
    /// The owner of an account that is opened without one.
    pub(super) owner: &'a Owner,
    /// The largest message of a call, for the error about a larger one.
    pub(super) message_bytes_max: usize,
    /// The most that one movement, or an overdraft limit, may be of, in minor units.
    pub(super) amount_minor_units_max: i64,
}

/// What a message becomes, or every field of it that is not as documented.
pub(super) trait ParseWith<Message>: Sized {
    fn parse_with(message: Message, assumed: &Assumed<'_>) -> Result<Self, Failure>;
}

/// A call that changes something.
pub(super) struct Mutation {
    pub(super) command: Command,
    pub(super) request_id: Option<RequestId>,
    pub(super) validate_only: bool,
}

/// A call that reads an account.
pub(super) struct AccountQuery {
    pub(super) account_id: AccountId,
}

/// A call that reads a balance.
pub(super) struct BalanceQuery {
    pub(super) account_id: AccountId,
    pub(super) as_of: Option<Timestamp>,
}

/// A call that lists accounts.
pub(super) struct AccountList {
    pub(super) owner: Option<Owner>,
    pub(super) account_type: Option<AccountType>,
    pub(super) state: Option<AccountState>,
    pub(super) page: Page<AccountId>,
}

/// A call that lists entries.
pub(super) struct History {
    pub(super) account_id: AccountId,
    pub(super) order: Order,
    pub(super) start: Option<Timestamp>,
    /// The last millisecond of the range.
    pub(super) end: Option<Timestamp>,
    /// Empty for every kind.
    pub(super) kinds: Vec<v1::EntryKind>,
    pub(super) page: Page<EntryId>,
}

/// A call that reads a movement.
pub(super) struct TransactionQuery {
    pub(super) transaction_id: TransactionId,
}

/// The account to audit; none for the whole bank.
impl ParseWith<v1::AuditAccountsRequest> for Option<AccountId> {
    fn parse_with(message: v1::AuditAccountsRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.optional("account_id", &message.account_id);
        violations.finish(account_id)
    }
}

/// A call for all that there is.
pub(super) struct Everything;

impl ParseWith<v1::ExportBankRequest> for Everything {
    fn parse_with(_: v1::ExportBankRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        Ok(Self)
    }
}

/// A file, as it arrives.
pub(super) struct Upload(pub(super) BoxStream<'static, Result<Vec<u8>, Failure>>);

impl ParseWith<Streaming<v1::ImportBankRequest>> for Upload {
    fn parse_with(
        messages: Streaming<v1::ImportBankRequest>,
        assumed: &Assumed<'_>,
    ) -> Result<Self, Failure> {
        let bound = Limit::new(LimitKind::Message, assumed.message_bytes_max);
        let data = messages.map(move |message| match message {
            Ok(v1::ImportBankRequest { data }) => Ok(data),
            Err(status) => Err(Failure::Unreadable(status, bound)),
        });
        Ok(Self(data.boxed()))
    }
}

impl Violations {
    fn mutation(
        mut self,
        command: Option<Command>,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Mutation, Failure> {
        let request_id = self.optional("request_id", request_id);
        let mutation = command.zip(request_id).map(|(command, request_id)| Mutation {
            command,
            request_id,
            validate_only,
        });
        self.finish(mutation)
    }

    fn change_state(&mut self, account_id: &str, description: &str) -> Option<ChangeState> {
        let account_id = self.text("account_id", account_id);
        let description = self.text("description", description);
        Some(ChangeState { account_id: account_id?, description: description? })
    }

    fn open_account(
        &mut self,
        message: v1::CreateAccountRequest,
        assumed: &Assumed<'_>,
    ) -> Option<OpenAccount> {
        let account_id = self.text("account_id", &message.account_id);
        let account_type = self.choice("account_type", message.account_type, choices::account_type);
        if account_type == Some(None) {
            self.add("account_type", "is required: ACCOUNT_TYPE_SAVINGS or ACCOUNT_TYPE_CHECKING");
        }
        let currency = self.optional("currency_code", &message.currency_code);
        let owner = self.optional("owner", &message.owner);
        let labels: BTreeMap<_, _> = message.labels.into_iter().collect();
        let labels = self.check("labels", Labels::try_from(labels));
        let limit = match &message.overdraft_limit {
            None => Some(None),
            limit => self.limit("overdraft_limit", limit.as_ref(), assumed.amount_minor_units_max).map(Some),
        };
        let currency = currency?.unwrap_or(assumed.currency);
        let owner = owner?.unwrap_or_else(|| assumed.owner.clone());
        let open = OpenAccount::try_new(account_id?, account_type??, currency, owner, labels?, limit?);
        self.check(
            match open {
                Err(InvalidOpenAccount::LimitCurrency { .. }) => "overdraft_limit.currency_code",
                Err(InvalidOpenAccount::WithdrawnCurrency(_)) => "currency_code",
                _ => "overdraft_limit",
            },
            open,
        )
    }

    fn kinds(&mut self, numbers: &[i32]) -> Option<Vec<v1::EntryKind>> {
        if numbers.len() > ENTRY_KINDS_MAX {
            self.add("kinds", format!("has {} kinds; there are only {ENTRY_KINDS_MAX}", numbers.len()));
            return None;
        }
        let mut kinds = Vec::with_capacity(numbers.len());
        for number in numbers {
            match self.choice("kinds", *number, choices::entry_kind)? {
                Some(kind) => kinds.push(kind),
                None => self.add("kinds", "ENTRY_KIND_UNSPECIFIED is no kind; leave the list empty for all"),
            }
        }
        Some(kinds)
    }

    fn terms(&mut self, message: &v1::CalculateInterestRequest) -> Option<Terms> {
        let annual_rate: Option<AnnualRate> =
            self.text("annual_interest_rate", &message.annual_interest_rate);
        let day_count = self.choice("day_count", message.day_count, choices::day_count);
        let compounding = self.choice("compounding", message.compounding, choices::compounding);
        let rounding_mode = self.choice("rounding_mode", message.rounding_mode, choices::rounding_mode);
        Some(Terms {
            annual_rate: annual_rate?,
            day_count: day_count?.unwrap_or_default(),
            compounding: compounding?.unwrap_or_default(),
            rounding_mode: rounding_mode?.unwrap_or_default(),
        })
    }

    fn period(&mut self, start_date: &str, end_date: &str) -> Option<Period> {
        match (start_date, end_date) {
            ("", "") => return Some(Period::OneYear),
            ("", _) => self.required("start_date", None)?,
            (_, "") => self.required("end_date", None)?,
            _ => {}
        }
        let range = DateRange::parse(start_date, end_date);
        let field = match range {
            Err(InvalidDateRange::Start(_)) => "start_date",
            _ => "end_date",
        };
        self.check(field, range).map(Period::from)
    }
}

impl ParseWith<v1::CreateAccountRequest> for Mutation {
    fn parse_with(message: v1::CreateAccountRequest, assumed: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let (request_id, validate_only) = (message.request_id.clone(), message.validate_only);
        let command = violations.open_account(message, assumed).map(Command::OpenAccount);
        violations.mutation(command, &request_id, validate_only)
    }
}

impl ParseWith<v1::DepositRequest> for Mutation {
    fn parse_with(message: v1::DepositRequest, assumed: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), assumed.amount_minor_units_max);
        let description = violations.text("description", &message.description);
        let command =
            (|| Some(Deposit { account_id: account_id?, amount: amount?, description: description? }))();
        violations.mutation(command.map(Command::Deposit), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::WithdrawRequest> for Mutation {
    fn parse_with(message: v1::WithdrawRequest, assumed: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), assumed.amount_minor_units_max);
        let description = violations.text("description", &message.description);
        let command =
            (|| Some(Withdraw { account_id: account_id?, amount: amount?, description: description? }))();
        violations.mutation(command.map(Command::Withdraw), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::TransferRequest> for Mutation {
    fn parse_with(message: v1::TransferRequest, assumed: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let source: Option<AccountId> = violations.text("account_id", &message.account_id);
        let destination = violations.text("destination_account_id", &message.destination_account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), assumed.amount_minor_units_max);
        let description: Option<Description> = violations.text("description", &message.description);
        let transfer = (|| Some(Transfer::try_new(source?, destination?, amount?, description?)))();
        let transfer = transfer.and_then(|transfer| violations.check("destination_account_id", transfer));
        violations.mutation(transfer.map(Command::Transfer), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::CalculateInterestRequest> for Mutation {
    fn parse_with(message: v1::CalculateInterestRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let terms = violations.terms(&message);
        let period = violations.period(&message.start_date, &message.end_date);
        let period = (|| {
            let (terms, period) = (terms?, period?);
            violations.check("end_date", terms.require_calculable(period))?;
            Some(period)
        })();
        let description = violations.text("description", &message.description);
        let command = (|| {
            Some(ApplyInterest {
                account_id: account_id?,
                terms: terms?,
                period: period?,
                description: description?,
            })
        })();
        violations.mutation(command.map(Command::ApplyInterest), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::SetOverdraftLimitRequest> for Mutation {
    fn parse_with(message: v1::SetOverdraftLimitRequest, assumed: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let limit = violations.limit(
            "overdraft_limit",
            message.overdraft_limit.as_ref(),
            assumed.amount_minor_units_max,
        );
        let command = (|| Some(SetOverdraftLimit { account_id: account_id?, limit: limit? }))();
        violations.mutation(
            command.map(Command::SetOverdraftLimit),
            &message.request_id,
            message.validate_only,
        )
    }
}

impl ParseWith<v1::FreezeAccountRequest> for Mutation {
    fn parse_with(message: v1::FreezeAccountRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let command = violations.change_state(&message.account_id, &message.description);
        violations.mutation(command.map(Command::Freeze), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::UnfreezeAccountRequest> for Mutation {
    fn parse_with(message: v1::UnfreezeAccountRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let command = violations.change_state(&message.account_id, &message.description);
        violations.mutation(command.map(Command::Unfreeze), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::CloseAccountRequest> for Mutation {
    fn parse_with(message: v1::CloseAccountRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let command = violations.change_state(&message.account_id, &message.description);
        violations.mutation(command.map(Command::Close), &message.request_id, message.validate_only)
    }
}

impl ParseWith<v1::GetAccountRequest> for AccountQuery {
    fn parse_with(message: v1::GetAccountRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        violations.finish(account_id.map(|account_id| Self { account_id }))
    }
}

impl ParseWith<v1::GetBalanceRequest> for BalanceQuery {
    fn parse_with(message: v1::GetBalanceRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let as_of = violations.time("as_of", message.as_of.map(whole_milliseconds));
        violations.finish((|| Some(Self { account_id: account_id?, as_of: as_of? }))())
    }
}

impl ParseWith<v1::ListAccountsRequest> for AccountList {
    fn parse_with(message: v1::ListAccountsRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let owner = violations.optional("owner", &message.owner);
        let account_type = violations.choice("account_type", message.account_type, choices::account_type);
        let state = violations.choice("state", message.state, choices::account_state);
        let filters = [&*message.owner, &message.account_type.to_string(), &message.state.to_string()];
        let page = Page::parse(message.page_size, &message.page_token, &filters)
            .map_err(|error| violations.add(error.field(), error))
            .ok();
        violations.finish((|| {
            Some(Self { owner: owner?, account_type: account_type?, state: state?, page: page? })
        })())
    }
}

impl ParseWith<v1::ListTransactionsRequest> for History {
    fn parse_with(message: v1::ListTransactionsRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let account_id = violations.text("account_id", &message.account_id);
        let order = violations.choice("order", message.order, |order| match order {
            v1::ListOrder::Unspecified | v1::ListOrder::NewestFirst => Some(Order::NewestFirst),
            v1::ListOrder::OldestFirst => Some(Order::OldestFirst),
        });
        // As they are given: two times within a millisecond are one here, and nothing is between them.
        let exact = |time: prost_types::Timestamp| (time.seconds, time.nanos);
        let backwards = message.start_time.map(exact) > message.end_time.map(exact);
        let start = violations.time("start_time", message.start_time);
        let end = violations.time("end_time", message.end_time);
        if start.flatten().is_some() && end.flatten().is_some() && backwards {
            violations.add("end_time", "must not be before start_time");
        }
        let kinds = violations.kinds(&message.kinds);
        let filters = format!("{:?} {:?} {:?} {:?}", order, start, end, message.kinds);
        let page = Page::parse(message.page_size, &message.page_token, &[&message.account_id, &filters])
            .map_err(|error| violations.add(error.field(), error))
            .ok();
        violations.finish((|| {
            Some(Self {
                account_id: account_id?,
                order: order??,
                start: start?,
                end: end?.map(millisecond_before),
                kinds: kinds?,
                page: page?,
            })
        })())
    }
}

impl ParseWith<v1::GetTransactionRequest> for TransactionQuery {
    fn parse_with(message: v1::GetTransactionRequest, _: &Assumed<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let transaction_id = violations.text("transaction_id", &message.transaction_id);
        violations.finish(transaction_id.map(|transaction_id| Self { transaction_id }))
    }
}

/// Cuts what is finer than a millisecond: entries have no finer time.
fn whole_milliseconds(mut time: prost_types::Timestamp) -> prost_types::Timestamp {
    time.nanos = time.nanos.saturating_sub(time.nanos.rem_euclid(1_000_000));
    time
}

fn millisecond_before(time: Timestamp) -> Timestamp {
    Timestamp::try_from_unix_ms(time.unix_ms() - 1).unwrap_or(Timestamp::MIN)
}
