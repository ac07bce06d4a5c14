//! Arguments of several commands.

use bank_client::{AccountId, BankClient, Call, Currency, Money, RequestId, methods};
use clap::Args;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Amount {
    /// Amount as a decimal: 1000.00
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) decimal: String,
    /// Currency as an ISO 4217 code [default: that of the account]
    #[arg(value_name = "CURRENCY")]
    pub(crate) currency: Option<Currency>,
    /// The same as CURRENCY
    #[arg(long = "currency", value_name = "CODE", conflicts_with = "currency")]
    pub(crate) currency_option: Option<Currency>,
}

impl Amount {
    /// The amount as money. Without a currency on the command line, that of the account is looked up.
    pub(crate) async fn resolve(&self, client: &BankClient, account: &AccountId) -> Result<Money, Failure> {
        let currency = match self.currency.or(self.currency_option) {
            Some(currency) => currency,
            None => client.account(account).await?.currency,
        };
        Ok(Money::parse_decimal(&self.decimal, currency)?)
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Safety")]
pub(crate) struct Mutation {
    /// Idempotency key: requests with the same id are carried out once [default: a new UUID]
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<RequestId>,
    /// Dry run: check and show the result, without changing anything
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

#[derive(Debug, Args)]
pub(crate) struct Description {
    /// Description of the entry, kept in the history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) description: String,
}

impl Description {
    pub(crate) fn apply<M: methods::Described>(&self, call: Call<M>) -> Call<M> {
        call.description(&self.description)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// Maximum number of items
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
    /// Show all items
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Limit {
    pub(crate) fn items_max(&self) -> usize {
        if self.all { usize::MAX } else { self.limit }
    }

    /// Enough for the items to show and one more, which tells whether there are more.
    pub(crate) fn page_size(&self) -> u16 {
        const PAGE_SIZE_MAX: u16 = 1_000;
        u16::try_from(self.items_max().saturating_add(1))
            .map_or(PAGE_SIZE_MAX, |size| size.min(PAGE_SIZE_MAX))
    }
}
