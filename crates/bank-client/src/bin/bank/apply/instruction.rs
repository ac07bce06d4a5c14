//! What a line asks for: its columns, validated and in a canonical spelling.

use std::{
    fmt::{Display, Write as _},
    str::FromStr,
};

use bank_client::{
    AccountId, AccountType, BankClient, Call, Compounding, Currency, DayCount, EntryKind, Money, Operation,
    RequestId, RoundingMode, Route, methods,
};
use bank_domain::{
    Amount, Description, Labels, OverdraftLimit, Owner,
    interest::{AnnualRate, DateRange},
};
use ring::digest;

use super::row::{self, Row};

/// A valid operation without its request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The name of the operation in files.
    pub(super) name: &'static str,
    pub(super) account_id: AccountId,
    pub(super) content: Content,
    kind: Kind,
    description: Description,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Deposit(Money),
    Withdraw(Money),
    Transfer { to: AccountId, amount: Money },
    CalculateInterest(Box<Interest>),
    CreateAccount(Box<NewAccount>),
    SetOverdraftLimit(Money),
    FreezeAccount,
    UnfreezeAccount,
    CloseAccount,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interest {
    rate: AnnualRate,
    /// The first day, and the day after the last.
    period: Option<(String, String)>,
    day_count: DayCount,
    compounding: Compounding,
    rounding_mode: RoundingMode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NewAccount {
    account_type: AccountType,
    /// None for the default currency of the bank.
    currency: Option<Currency>,
    owner: Owner,
    labels: Labels,
    overdraft_limit: Option<Money>,
}

/// Each operation with the kind of entry that it makes, and its columns besides [`COMMON_COLUMNS`].
pub(crate) const OPERATIONS: &[(&str, EntryKind, &[&str])] = &[
    ("deposit", EntryKind::Deposit, &["amount", "currency_code", "description"]),
    ("withdraw", EntryKind::Withdrawal, &["amount", "currency_code", "description"]),
    (
        "transfer",
        EntryKind::TransferOut,
        &["destination_account_id", "amount", "currency_code", "description"],
    ),
    (
        "calculate_interest",
        EntryKind::Interest,
        &[
            "annual_interest_rate",
            "start_date",
            "end_date",
            "day_count",
            "compounding",
            "rounding_mode",
            "description",
        ],
    ),
    (
        "create_account",
        EntryKind::AccountOpened,
        &["account_type", "currency_code", "owner", "labels", "overdraft_limit"],
    ),
    ("set_overdraft_limit", EntryKind::OverdraftLimitSet, &["overdraft_limit", "currency_code"]),
    ("freeze_account", EntryKind::AccountFrozen, &["description"]),
    ("unfreeze_account", EntryKind::AccountUnfrozen, &["description"]),
    ("close_account", EntryKind::AccountClosed, &["description"]),
];

/// Columns that every operation has.
const COMMON_COLUMNS: [&str; 3] = ["operation", "account_id", "request_id"];

/// The kind of entry that an operation of this name makes on its account.
pub(super) fn entry_kind(name: &str) -> Option<EntryKind> {
    OPERATIONS.iter().find(|(operation, ..)| *operation == name).map(|(_, kind, _)| *kind)
}

impl Instruction {
    /// Reads a row.
    ///
    /// # Errors
    /// The problem of the row.
    pub(super) fn read(row: &Row, default_currency: Option<Currency>) -> Result<Self, String> {
        let name = row.get("operation");
        let Some(&(name, _, columns)) = OPERATIONS.iter().find(|(operation, ..)| *operation == name) else {
            return Err(unknown_operation(name));
        };
        let mut given = row.given().map(|(column, _)| column);
        if let Some(column) =
            given.find(|column| !COMMON_COLUMNS.contains(column) && !columns.contains(column))
        {
            return Err(format!("{column} does not apply to {name}; leave it empty"));
        }
        let mut reader = Reader { row, default_currency, canonical: Row::default() };
        reader.keep("operation", name)?;
        let account_id = reader.value("account_id")?;
        let kind = match name {
            "deposit" => Kind::Deposit(reader.amount()?),
            "withdraw" => Kind::Withdraw(reader.amount()?),
            "transfer" => {
                let to = reader.value("destination_account_id")?;
                if to == account_id {
                    return Err("destination_account_id is the source; they must differ".to_owned());
                }
                Kind::Transfer { to, amount: reader.amount()? }
            }
            "calculate_interest" => Kind::CalculateInterest(Box::new(reader.interest()?)),
            "create_account" => Kind::CreateAccount(Box::new(reader.new_account()?)),
            "set_overdraft_limit" => {
                let currency = reader.required_currency()?;
                Kind::SetOverdraftLimit(reader.overdraft_limit(currency)?)
            }
            "freeze_account" => Kind::FreezeAccount,
            "unfreeze_account" => Kind::UnfreezeAccount,
            _ => Kind::CloseAccount,
        };
        let description: Description = reader.parse("description")?;
        reader.keep("description", description.as_str())?;
        Ok(Self { name, account_id, content: Content::of(&reader.canonical), kind, description })
    }

    /// What is known in advance of the entry that it makes: the amount, if it has one, and the destination of a
    /// transfer.
    pub(super) fn entry(&self) -> (Option<Money>, Option<&AccountId>) {
        let minus = |amount: Money| amount.with_minor_units(-amount.minor_units);
        match &self.kind {
            Kind::Deposit(amount) => (Some(*amount), None),
            Kind::Withdraw(amount) => (Some(minus(*amount)), None),
            Kind::Transfer { to, amount } => (Some(minus(*amount)), Some(to)),
            _ => (None, None),
        }
    }

    /// The operation as it is sent.
    pub(super) fn operation(&self, client: &BankClient, request_id: &RequestId) -> Operation {
        let account = &self.account_id;
        match &self.kind {
            Kind::Deposit(amount) => self.described(client.deposit(account, *amount), request_id),
            Kind::Withdraw(amount) => self.described(client.withdraw(account, *amount), request_id),
            Kind::Transfer { to, amount } => {
                self.described(client.transfer(Route { from: account, to }, *amount), request_id)
            }
            Kind::CalculateInterest(interest) => {
                let Interest { rate, period, day_count, compounding, rounding_mode } = &**interest;
                let mut call = client.calculate_interest(account, rate.to_string());
                if let Some((start, end)) = period {
                    call = call.period(start..end);
                }
                let call = call.day_count(*day_count).compounding(*compounding).rounding_mode(*rounding_mode);
                self.described(call, request_id)
            }
            Kind::CreateAccount(new) => {
                let NewAccount { account_type, currency, owner, labels, overdraft_limit } = &**new;
                let mut call = client.create_account(account, *account_type).owner(owner.as_str());
                if let Some(currency) = currency {
                    call = call.currency(*currency);
                }
                if let Some(limit) = overdraft_limit {
                    call = call.overdraft_limit(*limit);
                }
                for (key, value) in labels.iter() {
                    call = call.label(key, value);
                }
                call.request_id(request_id.clone()).into()
            }
            Kind::SetOverdraftLimit(limit) => {
                client.set_overdraft_limit(account, *limit).request_id(request_id.clone()).into()
            }
            Kind::FreezeAccount => self.described(client.freeze_account(account), request_id),
            Kind::UnfreezeAccount => self.described(client.unfreeze_account(account), request_id),
            Kind::CloseAccount => self.described(client.close_account(account), request_id),
        }
    }

    fn described<M>(&self, call: Call<M>, request_id: &RequestId) -> Operation
    where
        M: methods::Mutation + methods::Described,
        Operation: From<Call<M>>,
    {
        call.description(self.description.as_str()).request_id(request_id.clone()).into()
    }
}

/// Reads the columns of a row, and keeps each in the one spelling that all spellings of the same value have.
struct Reader<'a> {
    row: &'a Row,
    default_currency: Option<Currency>,
    canonical: Row,
}

impl Reader<'_> {
    fn is_empty(&self, column: &str) -> bool {
        self.row.get(column).is_empty()
    }

    fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, String> {
        self.row.get(column).parse().map_err(|error| format!("{column} {error}"))
    }

    fn keep(&mut self, column: &str, text: impl Into<String>) -> Result<(), String> {
        self.canonical.set(column, text)
    }

    fn value<T: FromStr<Err: Display> + Display>(&mut self, column: &str) -> Result<T, String> {
        let value: T = self.parse(column)?;
        self.keep(column, value.to_string())?;
        Ok(value)
    }

    fn value_or<T: FromStr<Err: Display> + Display>(
        &mut self,
        column: &str,
        default: T,
    ) -> Result<T, String> {
        let value = if self.is_empty(column) { default } else { self.parse(column)? };
        self.keep(column, value.to_string())?;
        Ok(value)
    }

    fn currency(&mut self) -> Result<Option<Currency>, String> {
        match self.default_currency {
            _ if !self.is_empty("currency_code") => self.value("currency_code").map(Some),
            Some(currency) => self.value_or("currency_code", currency).map(Some),
            None => Ok(None),
        }
    }

    fn required_currency(&mut self) -> Result<Currency, String> {
        let problem = || "currency_code is empty; name one, or one for all lines with --currency".to_owned();
        self.currency()?.ok_or_else(problem)
    }

    fn decimal(&mut self, column: &str, currency: Currency) -> Result<Money, String> {
        if self.is_empty(column) {
            let example = Money { currency, minor_units: 100_000 }.to_decimal();
            return Err(format!("{column} is empty; write it like {example}"));
        }
        let money = Money::parse_decimal(self.row.get(column), currency)
            .map_err(|error| format!("{column} {error}"))?;
        self.keep(column, money.to_decimal())?;
        Ok(money)
    }

    fn amount(&mut self) -> Result<Money, String> {
        let currency = self.required_currency()?;
        let money = self.decimal("amount", currency)?;
        Amount::try_new(Some(currency), money.minor_units).map_err(|error| format!("amount {error}"))?;
        Ok(money)
    }

    fn overdraft_limit(&mut self, currency: Currency) -> Result<Money, String> {
        let money = self.decimal("overdraft_limit", currency)?;
        OverdraftLimit::try_new(Some(currency), money.minor_units)
            .map_err(|error| format!("overdraft_limit {error}"))?;
        Ok(money)
    }

    fn interest(&mut self) -> Result<Interest, String> {
        let (start, end) = (self.row.get("start_date").to_owned(), self.row.get("end_date").to_owned());
        let period = if start.is_empty() && end.is_empty() {
            None
        } else {
            DateRange::parse(&start, &end).map_err(|error| format!("start_date and end_date: {error}"))?;
            // A date has only one spelling.
            self.keep("start_date", &*start)?;
            self.keep("end_date", &*end)?;
            Some((start, end))
        };
        Ok(Interest {
            rate: self.value("annual_interest_rate")?,
            period,
            day_count: self.value_or("day_count", DayCount::Act365Fixed)?,
            compounding: self.value_or("compounding", Compounding::Simple)?,
            rounding_mode: self.value_or("rounding_mode", RoundingMode::HalfEven)?,
        })
    }

    fn new_account(&mut self) -> Result<NewAccount, String> {
        let currency = self.currency()?;
        let overdraft_limit = match currency {
            _ if self.is_empty("overdraft_limit") => None,
            None => return Err("overdraft_limit needs a currency_code".to_owned()),
            Some(currency) => Some(self.overdraft_limit(currency)?).filter(|limit| limit.minor_units != 0),
        };
        if overdraft_limit.is_none() {
            // Zero is the default.
            self.keep("overdraft_limit", "")?;
        }
        let pairs = row::labels(self.row.get("labels"))?;
        if !pairs.is_empty() {
            let text = serde_json::to_string(&pairs).map_err(|error| error.to_string())?;
            self.keep("labels", text)?;
        }
        let labels = Labels::try_from(pairs).map_err(|error| format!("labels {error}"))?;
        let account_type = self.value("account_type")?;
        if overdraft_limit.is_some() && account_type == AccountType::Savings {
            return Err("overdraft_limit does not apply to savings accounts".to_owned());
        }
        let owner: Owner = self.parse("owner")?;
        self.keep("owner", owner.as_str())?;
        Ok(NewAccount { account_type, currency, owner, labels, overdraft_limit })
    }
}

/// A hash of what a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content([u8; 32]);

impl Content {
    /// The SHA-256 of the names and texts of all columns that are not empty, so a column that is added to the format
    /// later changes nothing.
    fn of(canonical: &Row) -> Self {
        Self(hash(canonical.given().flat_map(|(column, text)| [column, text])))
    }

    pub(super) fn hex(self) -> String {
        hex(&self.0)
    }
}

/// The SHA-256 of texts, each preceded by its length in bytes as 8 bytes, little-endian, so that different lists of
/// texts have different hashes.
pub(super) fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unknown_operation(name: &str) -> String {
    let names: Vec<_> = OPERATIONS.iter().map(|(name, ..)| *name).collect();
    let shown = match name {
        "" => "empty".to_owned(),
        name => format!("{:?}", name.chars().take(32).collect::<String>()),
    };
    format!("operation is {shown}; it must be one of {}", names.join(", "))
}

#[cfg(test)]
mod tests;
