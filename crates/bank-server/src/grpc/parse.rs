//! Reads messages: the one place where what callers send becomes commands and queries.
//!
//! All violations of a message are collected and reported at once.

mod base;
mod batch;
mod violations;

use std::collections::BTreeMap;

use bank_domain::{
    AccountId, AccountState, AccountType, ApplyInterest, ChangeState, Command, Deposit, EntryId,
    InvalidOpenAccount, Labels, OpenAccount, Owner, SetOverdraftLimit, Timestamp, TransactionId, Transfer,
    Withdraw,
    interest::{AnnualRate, DateRange, InvalidDateRange, Period, Terms},
};
use bank_proto::v1;
use bank_store::Order;
use futures::{StreamExt as _, stream::BoxStream};
use tonic::Streaming;

use self::violations::Violations;
pub(super) use self::{
    base::{Defaults, Parse, ReplySize},
    batch::{Batch, BatchOperation},
};
use super::{enums, page::Page};
use crate::{
    status::{Failure, Limit, LimitKind, RESUME_TOKEN},
    watch::{Start, Token},
};

/// How many kinds of entries there are.
const ENTRY_KINDS_MAX: usize = 10;

pub(super) struct AccountQuery {
    pub(super) account_id: AccountId,
}

pub(super) struct BalanceQuery {
    pub(super) account_id: AccountId,
    pub(super) as_of: Option<Timestamp>,
}

pub(super) struct AccountList {
    pub(super) owner: Option<Owner>,
    pub(super) account_type: Option<AccountType>,
    pub(super) state: Option<AccountState>,
    pub(super) page: Page<AccountId>,
}

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

pub(super) struct TransactionQuery {
    pub(super) transaction_id: TransactionId,
}

/// A call that watches.
pub(super) struct WatchQuery {
    /// None for all that the caller may see.
    pub(super) account_id: Option<AccountId>,
    pub(super) owner: Option<Owner>,
    pub(super) start: Start,
}

/// A request without fields.
pub(super) struct NoFields;

/// The file of an import, as it arrives.
pub(super) struct Upload(pub(super) BoxStream<'static, Result<Vec<u8>, Failure>>);

/// Implements [`Parse`] for messages: `Type: Message, |message, defaults, violations| { .. }`.
macro_rules! parse {
    ($($type:ty: $message:ty, |$name:pat_param, $defaults:pat_param, $violations:ident| $body:block)*) => {
        $(impl Parse<$message> for $type {
            fn read($name: $message, $defaults: &Defaults<'_>, $violations: &mut Violations) -> Option<Self> $body
        })*
    };
}

parse! {
    Command: v1::CreateAccountRequest, |message, defaults, violations| {
        violations.open_account(message, defaults).map(Self::OpenAccount)
    }

    Command: v1::DepositRequest, |message, defaults, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), defaults.amount_minor_units_max);
        let description = violations.text("description", &message.description);
        Some(Self::Deposit(Deposit { account_id: account_id?, amount: amount?, description: description? }))
    }

    Command: v1::WithdrawRequest, |message, defaults, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), defaults.amount_minor_units_max);
        let description = violations.text("description", &message.description);
        Some(Self::Withdraw(Withdraw { account_id: account_id?, amount: amount?, description: description? }))
    }

    Command: v1::TransferRequest, |message, defaults, violations| {
        let source = violations.text("account_id", &message.account_id);
        let destination = violations.text("destination_account_id", &message.destination_account_id);
        let amount = violations.amount("amount", message.amount.as_ref(), defaults.amount_minor_units_max);
        let description = violations.text("description", &message.description);
        let transfer = Transfer::try_new(source?, destination?, amount?, description?);
        violations.check("destination_account_id", transfer).map(Self::Transfer)
    }

    Command: v1::CalculateInterestRequest, |message, _, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let terms = violations.terms(&message);
        let period = violations.period(&message.start_date, &message.end_date);
        let period = (|| {
            let (terms, period) = (terms?, period?);
            violations.check("end_date", terms.require_calculable(period))?;
            Some(period)
        })();
        let description = violations.text("description", &message.description);
        Some(Self::ApplyInterest(ApplyInterest {
            account_id: account_id?,
            terms: terms?,
            period: period?,
            description: description?,
        }))
    }

    Command: v1::SetOverdraftLimitRequest, |message, defaults, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let limit = message.overdraft_limit.as_ref();
        let limit = violations.limit("overdraft_limit", limit, defaults.amount_minor_units_max);
        Some(Self::SetOverdraftLimit(SetOverdraftLimit { account_id: account_id?, limit: limit? }))
    }

    Command: v1::FreezeAccountRequest, |message, _, violations| {
        violations.change_state(&message.account_id, &message.description).map(Self::Freeze)
    }

    Command: v1::UnfreezeAccountRequest, |message, _, violations| {
        violations.change_state(&message.account_id, &message.description).map(Self::Unfreeze)
    }

    Command: v1::CloseAccountRequest, |message, _, violations| {
        violations.change_state(&message.account_id, &message.description).map(Self::Close)
    }

    AccountQuery: v1::GetAccountRequest, |message, _, violations| {
        violations.text("account_id", &message.account_id).map(|account_id| Self { account_id })
    }

    BalanceQuery: v1::GetBalanceRequest, |message, _, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let as_of = violations.time("as_of", message.as_of.map(whole_milliseconds));
        Some(Self { account_id: account_id?, as_of: as_of? })
    }

    AccountList: v1::ListAccountsRequest, |message, _, violations| {
        let owner = violations.optional("owner", &message.owner);
        let account_type = violations.choice("account_type", message.account_type, enums::account_type);
        let state = violations.choice("state", message.state, enums::account_state);
        let filters = [&*message.owner, &message.account_type.to_string(), &message.state.to_string()];
        let page = Page::parse(message.page_size, &message.page_token, &filters)
            .map_err(|error| violations.add(error.field(), error))
            .ok();
        Some(Self { owner: owner?, account_type: account_type?, state: state?, page: page? })
    }

    History: v1::ListTransactionsRequest, |message, _, violations| {
        let account_id = violations.text("account_id", &message.account_id);
        let order = violations.choice("order", message.order, |order| match order {
            v1::ListOrder::Unspecified | v1::ListOrder::NewestFirst => Some(Order::NewestFirst),
            v1::ListOrder::OldestFirst => Some(Order::OldestFirst),
        });
        // Compared as given: two times within one millisecond are equal afterwards.
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
        Some(Self {
            account_id: account_id?,
            order: order??,
            start: start?,
            end: end?.map(millisecond_before),
            kinds: kinds?,
            page: page?,
        })
    }

    TransactionQuery: v1::GetTransactionRequest, |message, _, violations| {
        violations.text("transaction_id", &message.transaction_id).map(|transaction_id| Self { transaction_id })
    }

    WatchQuery: v1::WatchTransactionsRequest, |message, _, violations| {
        let account_id = violations.optional("account_id", &message.account_id);
        let owner = violations.optional("owner", &message.owner);
        if !message.account_id.is_empty() && !message.owner.is_empty() {
            violations.add("owner", "must be empty where account_id names an account");
        }
        let start = violations.choice("start", message.start, |start| match start {
            v1::WatchStart::Unspecified => None,
            v1::WatchStart::Now => Some(Start::Now),
            v1::WatchStart::Beginning => Some(Start::Beginning),
        });
        let token = match &*message.resume_token {
            "" => Some(None),
            token => violations.check(RESUME_TOKEN, Token::parse(token)).map(Some),
        };
        let start = start?.unwrap_or(Start::Now);
        Some(Self { account_id: account_id?, owner: owner?, start: token?.map_or(start, Start::After) })
    }

    // The account to audit; none for the whole bank.
    Option<AccountId>: v1::AuditAccountsRequest, |message, _, violations| {
        violations.optional("account_id", &message.account_id)
    }

    NoFields: v1::ExportBankRequest, |_, _, _violations| { Some(Self) }

    NoFields: v1::GetServerInfoRequest, |_, _, _violations| { Some(Self) }

    Upload: Streaming<v1::ImportBankRequest>, |messages, defaults, _violations| {
        let limit = Limit::new(LimitKind::Message, defaults.message_bytes_max);
        let data = messages.map(move |message| match message {
            Ok(v1::ImportBankRequest { data }) => Ok(data),
            Err(status) => Err(Failure::Unreadable(status, limit)),
        });
        Some(Self(data.boxed()))
    }
}

impl ReplySize for AccountQuery {}
impl ReplySize for BalanceQuery {}
impl ReplySize for TransactionQuery {}
impl ReplySize for NoFields {}

impl ReplySize for AccountList {
    fn bytes_max(&self) -> usize {
        // An account with all its labels, in bytes.
        self.page.bytes_max(8 * 1024)
    }
}

impl ReplySize for History {
    fn bytes_max(&self) -> usize {
        self.page.bytes_max(2 * 1024)
    }
}

impl Violations {
    fn change_state(&mut self, account_id: &str, description: &str) -> Option<ChangeState> {
        let account_id = self.text("account_id", account_id);
        let description = self.text("description", description);
        Some(ChangeState { account_id: account_id?, description: description? })
    }

    fn open_account(
        &mut self,
        message: v1::CreateAccountRequest,
        defaults: &Defaults<'_>,
    ) -> Option<OpenAccount> {
        let account_id = self.text("account_id", &message.account_id);
        let account_type = self.choice("account_type", message.account_type, enums::account_type);
        if account_type == Some(None) {
            self.add("account_type", "is required: ACCOUNT_TYPE_SAVINGS or ACCOUNT_TYPE_CHECKING");
        }
        let currency = self.optional("currency_code", &message.currency_code);
        let owner = self.optional("owner", &message.owner);
        let labels: BTreeMap<_, _> = message.labels.into_iter().collect();
        let labels = self.check("labels", Labels::try_from(labels));
        let limit = match &message.overdraft_limit {
            None => Some(None),
            limit => self.limit("overdraft_limit", limit.as_ref(), defaults.amount_minor_units_max).map(Some),
        };
        let currency = currency?.unwrap_or(defaults.currency);
        let owner = owner?.unwrap_or_else(|| defaults.owner.clone());
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
            match self
                .choice("kinds", *number, |kind| (kind != v1::EntryKind::Unspecified).then_some(kind))?
            {
                Some(kind) => kinds.push(kind),
                None => self.add("kinds", "ENTRY_KIND_UNSPECIFIED is no kind; leave the list empty for all"),
            }
        }
        Some(kinds)
    }

    fn terms(&mut self, message: &v1::CalculateInterestRequest) -> Option<Terms> {
        let annual_rate: Option<AnnualRate> =
            self.text("annual_interest_rate", &message.annual_interest_rate);
        let day_count = self.choice("day_count", message.day_count, enums::day_count);
        let compounding = self.choice("compounding", message.compounding, enums::compounding);
        let rounding_mode = self.choice("rounding_mode", message.rounding_mode, enums::rounding_mode);
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

/// Cuts off fractions of a millisecond: entries have no finer time.
fn whole_milliseconds(mut time: prost_types::Timestamp) -> prost_types::Timestamp {
    time.nanos = time.nanos.saturating_sub(time.nanos.rem_euclid(1_000_000));
    time
}

fn millisecond_before(time: Timestamp) -> Timestamp {
    Timestamp::try_from_unix_ms(time.unix_ms() - 1).unwrap_or(Timestamp::MIN)
}
