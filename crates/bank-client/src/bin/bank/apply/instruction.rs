//! What a line asks for, read from its columns, in one spelling whatever the file's.

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
    pub(super) account_id: AccountId,
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

/// Which columns an operation has besides `operation`, `account_id` and `request_id`.
pub(crate) const OPERATIONS: &[(&str, &[&str])] = &[
    ("deposit", &["amount", "currency_code", "description"]),
    ("withdraw", &["amount", "currency_code", "description"]),
    ("transfer", &["destination_account_id", "amount", "currency_code", "description"]),
    (
        "calculate_interest",
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
    ("create_account", &["account_type", "currency_code", "owner", "labels", "overdraft_limit"]),
    ("set_overdraft_limit", &["overdraft_limit", "currency_code"]),
    ("freeze_account", &["description"]),
    ("unfreeze_account", &["description"]),
    ("close_account", &["description"]),
];

/// Columns that every operation has.
const ALWAYS: [&str; 3] = ["operation", "account_id", "request_id"];

impl Instruction {
    /// Reads a row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(row: &Row, default_currency: Option<Currency>) -> Result<Self, String> {
        let Some((operation, columns)) = OPERATIONS.iter().find(|(name, _)| *name == row.operation) else {
            return Err(unknown_operation(&row.operation));
        };
        if let Some((column, _)) =
            row.given().find(|(column, _)| !ALWAYS.contains(column) && !columns.contains(column))
        {
            return Err(format!("{column} does not apply to {operation}; leave it empty"));
        }
        let account_id = value("account_id", &row.account_id)?;
        let amount = || amount(row, default_currency);
        let kind = match *operation {
            "deposit" => Kind::Deposit(amount()?),
            "withdraw" => Kind::Withdraw(amount()?),
            "transfer" => {
                let to = value("destination_account_id", &row.destination_account_id)?;
                if to == account_id {
                    return Err("destination_account_id is the source; they must differ".to_owned());
                }
                Kind::Transfer { to, amount: amount()? }
            }
            "calculate_interest" => Kind::CalculateInterest(Box::new(interest(row)?)),
            "create_account" => Kind::CreateAccount(Box::new(new_account(row, default_currency)?)),
            "set_overdraft_limit" => {
                Kind::SetOverdraftLimit(overdraft_limit(row, currency(row, default_currency)?)?)
            }
            "freeze_account" => Kind::FreezeAccount,
            "unfreeze_account" => Kind::UnfreezeAccount,
            _ => Kind::CloseAccount,
        };
        Ok(Self { account_id, kind, description: value("description", &row.description)? })
    }

    /// Its name in files.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Deposit(_) => "deposit",
            Kind::Withdraw(_) => "withdraw",
            Kind::Transfer { .. } => "transfer",
            Kind::CalculateInterest(_) => "calculate_interest",
            Kind::CreateAccount(_) => "create_account",
            Kind::SetOverdraftLimit(_) => "set_overdraft_limit",
            Kind::FreezeAccount => "freeze_account",
            Kind::UnfreezeAccount => "unfreeze_account",
            Kind::CloseAccount => "close_account",
        }
    }

    /// What of the entry that it leaves on its account is known beforehand: the amount, if it has one, and the
    /// other account of a transfer.
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
            Kind::Deposit(amount) => self.described(client.deposit(account, *amount), request_id).into(),
            Kind::Withdraw(amount) => self.described(client.withdraw(account, *amount), request_id).into(),
            Kind::Transfer { to, amount } => {
                self.described(client.transfer(Route { from: account, to }, *amount), request_id).into()
            }
            Kind::CalculateInterest(interest) => {
                let Interest { rate, period, day_count, compounding, rounding_mode } = &**interest;
                let mut call = client.calculate_interest(account, rate.to_string());
                if let Some(period) = period {
                    call = call.period(&*period.0..&*period.1);
                }
                let call = call.day_count(*day_count).compounding(*compounding).rounding_mode(*rounding_mode);
                self.described(call, request_id).into()
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
            Kind::FreezeAccount => self.described(client.freeze_account(account), request_id).into(),
            Kind::UnfreezeAccount => self.described(client.unfreeze_account(account), request_id).into(),
            Kind::CloseAccount => self.described(client.close_account(account), request_id).into(),
        }
    }

    fn described<M>(&self, call: Call<M>, request_id: &RequestId) -> Call<M>
    where
        M: methods::Mutation + methods::Described,
    {
        call.description(self.description.as_str()).request_id(request_id.clone())
    }

    /// The columns of the line in one spelling, in the order of [`row::COLUMNS`]: the same for every way to write
    /// the same operation. What is empty is left out, so a column that is added to the format later changes nothing.
    fn canonical(&self) -> Row {
        let mut row = Row {
            operation: self.name().to_owned(),
            account_id: self.account_id.to_string(),
            description: self.description.as_str().to_owned(),
            ..Row::default()
        };
        let mut set_amount = |amount: Money| {
            row.amount = amount.to_decimal();
            row.currency_code = amount.currency.to_string();
        };
        match &self.kind {
            Kind::Deposit(amount) | Kind::Withdraw(amount) => set_amount(*amount),
            Kind::Transfer { to, amount } => {
                set_amount(*amount);
                row.destination_account_id = to.to_string();
            }
            Kind::CalculateInterest(interest) => {
                let Interest { rate, period, day_count, compounding, rounding_mode } = &**interest;
                row.annual_interest_rate = rate.to_string();
                if let Some(period) = period {
                    (row.start_date, row.end_date) = period.clone();
                }
                row.day_count = day_count.to_string();
                row.compounding = compounding.to_string();
                row.rounding_mode = rounding_mode.to_string();
            }
            Kind::CreateAccount(new) => {
                let NewAccount { account_type, currency, owner, labels, overdraft_limit } = &**new;
                row.account_type = account_type.to_string();
                row.currency_code = currency.map(|currency| currency.to_string()).unwrap_or_default();
                owner.as_str().clone_into(&mut row.owner);
                let labels: serde_json::Map<_, _> =
                    labels.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
                if !labels.is_empty() {
                    row.labels = serde_json::Value::Object(labels).to_string();
                }
                row.overdraft_limit = overdraft_limit.map(Money::to_decimal).unwrap_or_default();
            }
            Kind::SetOverdraftLimit(limit) => {
                row.overdraft_limit = limit.to_decimal();
                row.currency_code = limit.currency.to_string();
            }
            Kind::FreezeAccount | Kind::UnfreezeAccount | Kind::CloseAccount => {}
        }
        row
    }

    /// Tells operations apart: the SHA-256 of the names and texts of all columns of [`Self::canonical`].
    pub(super) fn content(&self) -> Content {
        let row = self.canonical();
        Content(hash(row.given().flat_map(|(column, text)| [column, text])))
    }

    /// The kind of entry that an operation of this name leaves on its account.
    pub(super) fn entry_kind(name: &str) -> Option<EntryKind> {
        Some(match name {
            "deposit" => EntryKind::Deposit,
            "withdraw" => EntryKind::Withdrawal,
            "transfer" => EntryKind::TransferOut,
            "calculate_interest" => EntryKind::Interest,
            "create_account" => EntryKind::AccountOpened,
            "set_overdraft_limit" => EntryKind::OverdraftLimitSet,
            "freeze_account" => EntryKind::AccountFrozen,
            "unfreeze_account" => EntryKind::AccountUnfrozen,
            "close_account" => EntryKind::AccountClosed,
            _ => return None,
        })
    }
}

/// What a line asks for, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content([u8; 32]);

impl Content {
    /// In hexadecimal digits.
    pub(super) fn hex(self) -> String {
        hex(&self.0)
    }
}

/// The SHA-256 of texts, each after its length in bytes as 8 bytes, little-endian: so no two lists of texts are
/// the same to it.
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
        // Memory takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unknown_operation(name: &str) -> String {
    let names: Vec<_> = OPERATIONS.iter().map(|(name, _)| *name).collect();
    match name {
        "" => format!("operation is empty; it must be one of {}", names.join(", ")),
        name => {
            let shown: String = name.chars().take(32).collect();
            format!("operation is {shown:?}; it must be one of {}", names.join(", "))
        }
    }
}

fn currency(row: &Row, default: Option<Currency>) -> Result<Currency, String> {
    match &*row.currency_code {
        "" => default.ok_or_else(|| {
            "currency_code is empty; name one, or one for all lines with --currency".to_owned()
        }),
        given => value("currency_code", given),
    }
}

fn amount(row: &Row, default_currency: Option<Currency>) -> Result<Money, String> {
    let currency = currency(row, default_currency)?;
    let money = decimal("amount", &row.amount, currency)?;
    Amount::try_new(Some(currency), money.minor_units).map_err(|error| format!("amount {error}"))?;
    Ok(money)
}

fn overdraft_limit(row: &Row, currency: Currency) -> Result<Money, String> {
    let money = decimal("overdraft_limit", &row.overdraft_limit, currency)?;
    OverdraftLimit::try_new(Some(currency), money.minor_units)
        .map_err(|error| format!("overdraft_limit {error}"))?;
    Ok(money)
}

fn decimal(column: &str, text: &str, currency: Currency) -> Result<Money, String> {
    if text.is_empty() {
        return Err(format!(
            "{column} is empty; write it like {}",
            Money { currency, minor_units: 100_000 }.to_decimal()
        ));
    }
    Money::parse_decimal(text, currency).map_err(|error| format!("{column} {error}"))
}

fn interest(row: &Row) -> Result<Interest, String> {
    let period = match (&*row.start_date, &*row.end_date) {
        ("", "") => None,
        (start, end) => {
            DateRange::parse(start, end).map_err(|error| format!("start_date and end_date: {error}"))?;
            // There is one way to write a date.
            Some((start.to_owned(), end.to_owned()))
        }
    };
    Ok(Interest {
        rate: value("annual_interest_rate", &row.annual_interest_rate)?,
        period,
        day_count: or("day_count", &row.day_count, DayCount::Act365Fixed)?,
        compounding: or("compounding", &row.compounding, Compounding::Simple)?,
        rounding_mode: or("rounding_mode", &row.rounding_mode, RoundingMode::HalfEven)?,
    })
}

fn new_account(row: &Row, default_currency: Option<Currency>) -> Result<NewAccount, String> {
    let currency = match &*row.currency_code {
        "" => default_currency,
        given => Some(value("currency_code", given)?),
    };
    let overdraft_limit = match (&*row.overdraft_limit, currency) {
        ("", _) => None,
        (_, None) => return Err("overdraft_limit needs a currency_code".to_owned()),
        (_, Some(currency)) => Some(overdraft_limit(row, currency)?).filter(|limit| limit.minor_units != 0),
    };
    let labels = Labels::try_from(row::labels(&row.labels)?).map_err(|error| format!("labels {error}"))?;
    let account_type = value("account_type", &row.account_type)?;
    if overdraft_limit.is_some() && account_type == AccountType::Savings {
        return Err("overdraft_limit does not apply to savings accounts".to_owned());
    }
    Ok(NewAccount { account_type, currency, owner: value("owner", &row.owner)?, labels, overdraft_limit })
}

fn value<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{column} {error}"))
}

fn or<T: FromStr<Err: Display>>(column: &str, text: &str, default: T) -> Result<T, String> {
    if text.is_empty() { Ok(default) } else { value(column, text) }
}

#[cfg(test)]
mod tests;
