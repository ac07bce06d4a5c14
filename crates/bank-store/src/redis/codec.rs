//! Accounts and entries as Redis holds them: legible fields, exact integers.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    str::{self, FromStr},
};

use bank_domain::{
    Account, AccountId, Currency, Description, Entry, EntryHash, EntryId, EntryKind, Labels, Money,
    RequestId, Timestamp, TransactionId, interest,
};
use fred::types::Value;

use super::reply::{self, Fields};
use crate::{StoreError, checks};

const LABEL: &str = "label:";

/// The fields of an account that every entry changes: the commit script and an import write them.
const BALANCE: &str = "balance";
/// The id of the newest entry, which is the account's version and the time of its last change.
const NEWEST: &str = "newest";
/// Of an account: the hash of its newest entry, as text. Of an entry: its own hash, as bytes.
pub(super) const HASH: &str = "hash";
/// What an entry says, except its hash.
pub(super) const ENTRY: &str = "entry";

/// Writes all fields of an account. `opening` is its first entry.
pub(super) fn account_fields(account: &Account, opening: &Entry, mut write: impl FnMut(&str, &dyn Display)) {
    write(BALANCE, &account.balance.minor_units);
    write(NEWEST, &EntryId { time: account.updated_at, sequence: account.version });
    write(HASH, &account.head);
    other_account_fields(account, opening, write);
}

/// Writes the fields of an account that only entries of some kinds change; the first entry writes all of them.
pub(super) fn other_account_fields(
    account: &Account,
    entry: &Entry,
    mut write: impl FnMut(&str, &dyn Display),
) {
    if !checks::changes_properties(&entry.kind) {
        return;
    }
    if matches!(entry.kind, EntryKind::AccountOpened { .. }) {
        write("type", &account.account_type.as_str());
        write("currency", &account.currency);
        write("owner", &account.owner);
        write("opened_at", &account.opened_at.unix_ms());
        for (key, value) in account.labels.iter() {
            write(&format!("{LABEL}{key}"), &value);
        }
    }
    write("state", &account.state.as_str());
    write("overdraft_limit", &account.overdraft_limit.minor_units);
}

/// An account from its fields; `None` if there are none.
pub(super) fn account(id: &AccountId, fields: &Fields) -> Result<Option<Account>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let read = Reader { what: "account", id, fields };
    let currency: Currency = read.parsed("currency")?;
    let newest: EntryId = read.parsed(NEWEST)?;
    let labels = fields.keys().filter_map(|name| name.strip_prefix(LABEL).map(|key| (name, key)));
    let labels: BTreeMap<_, _> = labels
        .map(|(name, key)| Ok((key.to_owned(), read.text(name)?.to_owned())))
        .collect::<Result<_, StoreError>>()?;
    let account = Account {
        id: id.clone(),
        account_type: read.parsed("type")?,
        currency,
        owner: read.parsed("owner")?,
        labels: Labels::try_from(labels).map_err(|_| read.damaged("label"))?,
        state: read.parsed("state")?,
        balance: Money { currency, minor_units: read.number(BALANCE)? },
        overdraft_limit: Money { currency, minor_units: read.number("overdraft_limit")? },
        version: newest.sequence,
        opened_at: read.time("opened_at")?,
        updated_at: newest.time,
        head: read.parsed(HASH)?,
    };
    if let Some(field) = checks::unsound_field(&account) {
        return Err(read.damaged(if field == "version" { NEWEST } else { field }));
    }
    Ok(Some(account))
}

/// What an entry says, as one text: its kind, the amount, the balance after it, what only its kind has, `#`
/// with the request id, and the description if there is one. Only the description may contain spaces.
/// The id, the account and the currency are not repeated: they are where the entry is.
///
/// One text, since each field of a stream entry costs Redis about as much as the first.
pub(super) struct EntryText<'a>(pub(super) &'a Entry);

impl Display for EntryText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let (amount, balance_after) = (entry.amount.minor_units, entry.balance_after.minor_units);
        write!(f, "{} {amount} {balance_after}", entry.kind.as_str())?;
        match &entry.kind {
            EntryKind::TransferOut { destination } => write!(f, " {destination}")?,
            EntryKind::TransferIn { source } => write!(f, " {source} {}", entry.transaction_id)?,
            EntryKind::Interest { terms, period } => {
                let (day_count, compounding) = (terms.day_count.as_str(), terms.compounding.as_str());
                let rounding_mode = terms.rounding_mode.as_str();
                write!(f, " {} {day_count} {compounding} {rounding_mode} {period}", terms.annual_rate)?;
            }
            EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
                write!(f, " {}", limit.minor_units)?;
            }
            EntryKind::Deposit
            | EntryKind::Withdrawal
            | EntryKind::AccountFrozen
            | EntryKind::AccountUnfrozen
            | EntryKind::AccountClosed => {}
        }
        write!(f, " #{}", entry.request_id.as_ref().map_or("", RequestId::as_str))?;
        if !entry.description.is_empty() {
            write!(f, " {}", entry.description)?;
        }
        Ok(())
    }
}

/// An entry from the stream of an account: its id and its fields.
pub(super) fn entry(account_id: &AccountId, currency: Currency, entry: Value) -> Result<Entry, StoreError> {
    let [id, fields] = reply::pair(entry)?;
    let (id, fields) = (reply::text(id)?, reply::fields(fields)?);
    let read = Reader { what: "entry", id: account_id, fields: &fields };
    let id: EntryId = id.parse().map_err(|_| read.damaged("id"))?;
    let mut words = EntryWords { read: &read, rest: Some(read.text(ENTRY)?) };
    let name = words.next("kind")?;
    let money = |minor_units| Money { currency, minor_units };
    let (amount, balance_after) = (money(words.parsed("amount")?), money(words.parsed("balance")?));
    let mut transaction_id = TransactionId { account_id: account_id.clone(), entry_id: id };
    let kind = match name {
        "account_opened" => {
            EntryKind::AccountOpened { overdraft_limit: money(words.parsed("overdraft limit")?) }
        }
        "deposit" => EntryKind::Deposit,
        "withdrawal" => EntryKind::Withdrawal,
        "transfer_out" => EntryKind::TransferOut { destination: words.parsed("destination")? },
        "transfer_in" => {
            let source = words.parsed("source")?;
            transaction_id = words.parsed("transaction")?;
            EntryKind::TransferIn { source }
        }
        "interest" => EntryKind::Interest {
            terms: interest::Terms {
                annual_rate: words.parsed("annual rate")?,
                day_count: words.parsed("day count")?,
                compounding: words.parsed("compounding")?,
                rounding_mode: words.parsed("rounding mode")?,
            },
            period: words.period()?,
        },
        "overdraft_limit_set" => {
            EntryKind::OverdraftLimitSet { limit: money(words.parsed("overdraft limit")?) }
        }
        "account_frozen" => EntryKind::AccountFrozen,
        "account_unfrozen" => EntryKind::AccountUnfrozen,
        "account_closed" => EntryKind::AccountClosed,
        _ => return Err(read.damaged("kind")),
    };
    Ok(Entry {
        transaction_id,
        account_id: account_id.clone(),
        sequence: id.sequence,
        time: id.time,
        kind,
        amount,
        balance_after,
        request_id: words.request()?,
        description: words.description()?,
        hash: read.hash()?,
    })
}

/// The words of an entry that have not been read yet.
struct EntryWords<'a> {
    read: &'a Reader<'a>,
    rest: Option<&'a str>,
}

impl<'a> EntryWords<'a> {
    fn next(&mut self, name: &str) -> Result<&'a str, StoreError> {
        let rest = self.rest.ok_or_else(|| self.read.damaged(name))?;
        let (word, rest) = rest.split_once(' ').map_or((rest, None), |(word, rest)| (word, Some(rest)));
        self.rest = rest;
        Ok(word)
    }

    fn parsed<T: FromStr>(&mut self, name: &str) -> Result<T, StoreError> {
        self.next(name)?.parse().map_err(|_| self.read.damaged(name))
    }

    fn period(&mut self) -> Result<interest::Period, StoreError> {
        let text = self.next("period")?;
        if text == interest::Period::OneYear.to_string() {
            return Ok(interest::Period::OneYear);
        }
        let (start, end) = text.split_once('/').ok_or_else(|| self.read.damaged("period"))?;
        let range = interest::DateRange::parse(start, end).map_err(|_| self.read.damaged("period"))?;
        Ok(range.into())
    }

    fn request(&mut self) -> Result<Option<RequestId>, StoreError> {
        let name = self.next("request")?.strip_prefix('#').ok_or_else(|| self.read.damaged("request"))?;
        if name.is_empty() {
            return Ok(None);
        }
        name.parse().map(Some).map_err(|_| self.read.damaged("request"))
    }

    fn description(self) -> Result<Description, StoreError> {
        let Some(text) = self.rest else { return Ok(Description::default()) };
        // An empty one is not written.
        let description = text.parse().ok().filter(|it: &Description| !it.is_empty());
        description.ok_or_else(|| self.read.damaged("description"))
    }
}

/// Reads fields, and names the one that is missing or malformed.
struct Reader<'a> {
    what: &'static str,
    id: &'a AccountId,
    fields: &'a Fields,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<&str, StoreError> {
        let bytes = self.fields.get(name).ok_or_else(|| self.damaged(name))?;
        str::from_utf8(bytes).map_err(|_| self.damaged(name))
    }

    /// The hash of an entry: 32 bytes. Text would take twice as many.
    fn hash(&self) -> Result<EntryHash, StoreError> {
        let bytes = self.fields.get(HASH).and_then(|bytes| bytes.as_slice().try_into().ok());
        bytes.map(EntryHash::from_bytes).ok_or_else(|| self.damaged(HASH))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| self.damaged(name))
    }

    /// A number, only as the bank writes it: the commit script compares it as text.
    fn number<T: FromStr + ToString>(&self, name: &str) -> Result<T, StoreError> {
        let number: T = self.parsed(name)?;
        if number.to_string() == self.text(name)? { Ok(number) } else { Err(self.damaged(name)) }
    }

    fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.number::<i64>(name)?.try_into().map_err(|_| self.damaged(name))
    }

    fn damaged(&self, name: &str) -> StoreError {
        StoreError::Corrupt(format!(
            "{} of account {}: field {name:?} is missing or malformed",
            self.what, self.id
        ))
    }
}
