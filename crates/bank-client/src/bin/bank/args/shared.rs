//! What several commands take.

use bank_client::{AccountId, BankClient, Call, Currency, Money, RequestId, methods};
use clap::Args;

use crate::failure::Failure;

/// An amount of money as people write it.
#[derive(Debug, Args)]
pub(crate) struct Amount {
    /// How much: 1000.00
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) decimal: String,
    /// In which currency, as an ISO 4217 code; that of the account unless given
    #[arg(value_name = "CURRENCY")]
    pub(crate) currency: Option<Currency>,
    /// The same as CURRENCY
    #[arg(long = "currency", value_name = "CODE", conflicts_with = "currency")]
    pub(crate) currency_option: Option<Currency>,
}

impl Amount {
    /// The amount in its currency. If none was given, the account is asked for its own.
    pub(crate) async fn resolve(&self, client: &BankClient, account: &AccountId) -> Result<Money, Failure> {
        let currency = match self.currency.or(self.currency_option) {
            Some(currency) => currency,
            None => client.account(account).await?.currency,
        };
        Ok(Money::parse_decimal(&self.decimal, currency)?)
    }
}

/// What every change takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Safety")]
pub(crate) struct Mutation {
    /// The name of the request: the same one again is carried out once [default: a new UUID]
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<RequestId>,
    /// Check and answer as if, but change nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) validate_only: bool,
}

impl Mutation {
    pub(crate) fn apply<M: methods::Mutation>(&self, call: Call<M>) -> Call<M> {
        let call = match &self.request_id {
            Some(request_id) => call.request_id(request_id.clone()),
            None => call,
        };
        if self.validate_only { call.validate_only() } else { call }
    }
}

/// What it is for.
#[derive(Debug, Args)]
pub(crate) struct Description {
    /// What it is for; kept in the history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) description: String,
}

impl Description {
    pub(crate) fn apply<M: methods::Described>(&self, call: Call<M>) -> Call<M> {
        call.description(&self.description)
    }
}

/// How much of a list is shown.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
    /// All there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Limit {
    pub(crate) fn items_max(&self) -> usize {
        if self.all { usize::MAX } else { self.limit }
    }

    /// Pages as large as they need to be, with one item more to see whether there are more.
    pub(crate) fn page_size(&self) -> u16 {
        const PAGE_SIZE_MAX: u16 = 1_000;
        u16::try_from(self.items_max().saturating_add(1))
            .map_or(PAGE_SIZE_MAX, |size| size.min(PAGE_SIZE_MAX))
    }
}
