//! Files of operations, line by line.

use std::{fmt::Display, str::FromStr};

use bank_client::{
    AccountId, BankClient, Compounding, Currency, DayCount, Money, Operation, RequestId, RoundingMode, Route,
};
use bank_domain::{
    Amount, Description,
    interest::{AnnualRate, DateRange},
};
use ring::digest;
use serde::Deserialize;

/// How many malformed lines are told of.
pub(crate) const PROBLEMS_MAX: usize = 20;

/// An operation, and where it is from.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) request_id: RequestId,
    pub(super) operation: Operation,
}

/// What is wrong with a line.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) line: u64,
    pub(crate) what: String,
}

/// Lines that are malformed.
#[derive(Debug)]
pub(crate) struct Problems {
    /// The first so many.
    pub(crate) first: Vec<Problem>,
    /// How many there are besides.
    pub(crate) more: usize,
}

/// What holds for all lines.
pub(super) struct Reader<'a> {
    pub(super) client: &'a BankClient,
    pub(super) currency: Option<Currency>,
    /// Of the run; made from the contents if there is none.
    pub(super) name: Option<String>,
}

/// A line as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row {
    operation: String,
    account_id: String,
    destination_account_id: String,
    amount: String,
    currency_code: String,
    annual_interest_rate: String,
    start_date: String,
    end_date: String,
    day_count: String,
    compounding: String,
    rounding_mode: String,
    description: String,
    request_id: String,
}

impl Reader<'_> {
    /// Reads all lines, or says what is wrong with them.
    pub(super) fn read(&self, contents: &[u8]) -> Result<Vec<Line>, Problems> {
        let name = self.name.clone().unwrap_or_else(|| name_of(contents));
        let mut lines = Vec::new();
        let mut problems = Problems { first: Vec::new(), more: 0 };
        for (number, row) in rows(contents) {
            match row.and_then(|row| self.line(&name, number, &row)) {
                Ok(line) => lines.push(line),
                Err(what) if problems.first.len() < PROBLEMS_MAX => {
                    problems.first.push(Problem { line: number, what });
                }
                Err(_) => problems.more += 1,
            }
        }
        if problems.first.is_empty() { Ok(lines) } else { Err(problems) }
    }

    fn line(&self, name: &str, number: u64, row: &Row) -> Result<Line, String> {
        let request_id: RequestId = match &*row.request_id {
            "" => value("request_id", &format!("{name}-{number}"))?,
            given => value("request_id", given)?,
        };
        let account_id: AccountId = value("account_id", &row.account_id)?;
        let _: Description = value("description", &row.description)?;
        row.has_only_what_applies()?;
        let operation = match &*row.operation {
            "deposit" => {
                let call = self.client.deposit(account_id, self.amount(row)?);
                call.description(&row.description).request_id(request_id.clone()).into()
            }
            "withdraw" => {
                let call = self.client.withdraw(account_id, self.amount(row)?);
                call.description(&row.description).request_id(request_id.clone()).into()
            }
            "transfer" => {
                let to: AccountId = value("destination_account_id", &row.destination_account_id)?;
                if to == account_id {
                    return Err("destination_account_id is the source; they must differ".to_owned());
                }
                let call = self.client.transfer(Route { from: account_id, to }, self.amount(row)?);
                call.description(&row.description).request_id(request_id.clone()).into()
            }
            _ => self.interest(account_id, row, request_id.clone())?,
        };
        Ok(Line { number, request_id, operation })
    }

    fn amount(&self, row: &Row) -> Result<Money, String> {
        let currency = match &*row.currency_code {
            "" => self.currency.ok_or("currency_code is empty: name one, or one for all with --currency")?,
            given => value("currency_code", given)?,
        };
        let money = Money::parse_decimal(&row.amount, currency).map_err(|error| format!("amount {error}"))?;
        Amount::try_new(Some(currency), money.minor_units).map_err(|error| format!("amount {error}"))?;
        Ok(money)
    }

    fn interest(&self, account_id: AccountId, row: &Row, request_id: RequestId) -> Result<Operation, String> {
        let _: AnnualRate = value("annual_interest_rate", &row.annual_interest_rate)?;
        let mut call = self.client.calculate_interest(account_id, &row.annual_interest_rate);
        if !(row.start_date.is_empty() && row.end_date.is_empty()) {
            DateRange::parse(&row.start_date, &row.end_date)
                .map_err(|error| format!("start_date and end_date: {error}"))?;
            call = call.period(&*row.start_date..&*row.end_date);
        }
        if let Some(day_count) = optional::<DayCount>("day_count", &row.day_count)? {
            call = call.day_count(day_count);
        }
        if let Some(compounding) = optional::<Compounding>("compounding", &row.compounding)? {
            call = call.compounding(compounding);
        }
        if let Some(rounding_mode) = optional::<RoundingMode>("rounding_mode", &row.rounding_mode)? {
            call = call.rounding_mode(rounding_mode);
        }
        Ok(call.description(&row.description).request_id(request_id).into())
    }
}

impl Row {
    /// What an operation has no use for must be empty: whoever filled it in meant something by it.
    fn has_only_what_applies(&self) -> Result<(), String> {
        let destination = [("destination_account_id", &self.destination_account_id)];
        let money = [("amount", &self.amount), ("currency_code", &self.currency_code)];
        let terms = [
            ("annual_interest_rate", &self.annual_interest_rate),
            ("start_date", &self.start_date),
            ("end_date", &self.end_date),
            ("day_count", &self.day_count),
            ("compounding", &self.compounding),
            ("rounding_mode", &self.rounding_mode),
        ];
        let out_of_place: Vec<_> = match &*self.operation {
            "deposit" | "withdraw" => destination.into_iter().chain(terms).collect(),
            "transfer" => terms.to_vec(),
            "calculate_interest" => destination.into_iter().chain(money).collect(),
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err(format!(
                    "operation is {shown:?}; it must be deposit, withdraw, transfer or calculate_interest"
                ));
            }
        };
        match out_of_place.into_iter().find(|(_, text)| !text.is_empty()) {
            Some((column, _)) => Err(format!("{column} does not apply to {}", self.operation)),
            None => Ok(()),
        }
    }
}

/// The lines that are there, with their numbers from 1: of CSV, if the contents do not begin as JSON does.
fn rows(contents: &[u8]) -> Vec<(u64, Result<Row, String>)> {
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    if contents.trim_ascii_start().first() == Some(&b'{') {
        let lines = (1..).zip(contents.split(|&byte| byte == b'\n'));
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        return lines
            .map(|(number, line)| (number, serde_json::from_slice(line).map_err(|error| error.to_string())))
            .collect();
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(contents);
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return vec![(1, Err(error.to_string()))],
    };
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        let line = record.position().map_or_else(|| reader.position().line(), csv::Position::line);
        match read {
            Ok(false) => return rows,
            Ok(true) => {
                let row = record.deserialize(Some(&header)).map_err(|error| match error.kind() {
                    csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
                    _ => error.to_string(),
                });
                rows.push((line, row));
            }
            Err(error) => rows.push((line, Err(error.to_string()))),
        }
    }
}

/// The same for the same contents, whatever the file is called.
fn name_of(contents: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, contents);
    hash.as_ref().iter().take(12).fold("apply-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn value<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{column} {error}"))
}

fn optional<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { value(column, text).map(Some) }
}
