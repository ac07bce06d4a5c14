//! Accounts, entries and request records as Redis holds them: legible fields, exact integers.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Display},
    str::{self, FromStr},
};

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Currency, Description, Entry, EntryHash, EntryId,
    EntryKind, Labels, Money, RequestId, TransactionId, interest,
};

use super::packed::Words;
use crate::{Proposal, StoreError, checks};

/// The fields of a hash or of one stream entry. All are text but the hash of an entry.
pub(super) type Fields = HashMap<String, Vec<u8>>;

const LABEL: &str = "label:";

/// The fields of an account that every entry changes: the commit script and an import write them.
pub(super) const BALANCE: &str = "balance";
/// The id of the newest entry, which is the account's version and the time of its last change.
pub(super) const NEWEST: &str = "newest";
/// The hash of the newest entry of an account, as text; that of an entry, as bytes.
pub(super) const HASH: &str = "hash";
/// What an entry says, but for its hash.
pub(super) const ENTRY: &str = "entry";

/// The fields of an account that only entries of some kinds change; all the rest for the first one.
pub(super) fn other_account_fields(account: &Account, entry: &Entry, to: &mut impl Words) {
    let mut push = |name: &str, value: &dyn Display| {
        to.push(name.as_bytes());
        to.print(&value);
    };
    match entry.kind {
        EntryKind::Deposit
        | EntryKind::Withdrawal
        | EntryKind::TransferOut { .. }
        | EntryKind::TransferIn { .. }
        | EntryKind::Interest { .. } => return,
        EntryKind::OverdraftLimitSet { .. }
        | EntryKind::AccountFrozen
        | EntryKind::AccountUnfrozen
        | EntryKind::AccountClosed => {}
        EntryKind::AccountOpened { .. } => {
            push("type", &account.account_type.as_str());
            push("currency", &account.currency);
            push("owner", &account.owner);
            push("opened_at", &account.opened_at.unix_ms());
            for (key, value) in account.labels.iter() {
                push(&format!("{LABEL}{key}"), &value);
            }
        }
    }
    push("state", &account.state.as_str());
    push("overdraft_limit", &account.overdraft_limit.minor_units);
}

/// An account from its hash; `None` where there is none.
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
        account_type: read.one_of(
            "type",
            &[AccountType::Savings, AccountType::Checking],
            AccountType::as_str,
        )?,
        currency,
        owner: read.parsed("owner")?,
        labels: Labels::try_from(labels).map_err(|_| read.damaged("label"))?,
        state: read.one_of(
            "state",
            &[AccountState::Active, AccountState::Frozen, AccountState::Closed],
            AccountState::as_str,
        )?,
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
/// with the name of the request, and the description if there is one. None but the last has a
/// space in it. Its id, account and currency are where it stands.
///
/// One text, since each field of a stream entry costs Redis about as much as the first.
pub(super) struct EntryText<'a>(pub(super) &'a Entry);

impl Display for EntryText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(
            f,
            "{} {} {}",
            entry.kind.as_str(),
            entry.amount.minor_units,
            entry.balance_after.minor_units
        )?;
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

/// An entry from its place in the stream of an account.
pub(super) fn entry(
    account_id: &AccountId,
    currency: Currency,
    id: &str,
    fields: &Fields,
) -> Result<Entry, StoreError> {
    let read = Reader { what: "entry", id: account_id, fields };
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

/// The record of a request: `<attempt> <fingerprint> <outcome> <recorded at>`, where the outcome is the
/// id of the entry on the account that the request names first, or the rejection in JSON, and the time
/// is in seconds.
pub(super) fn request_record(proposal: &Proposal) -> Result<String, StoreError> {
    let outcome = match &proposal.decision {
        Ok(plan) => plan.primary.entry.id().to_string(),
        Err(rejection) => serde_json::to_string(rejection)
            .map_err(|error| StoreError::Misconfigured(format!("a rejection cannot be encoded: {error}")))?,
    };
    let recorded_at = proposal.decided_at_seconds();
    Ok(format!("{} {} {outcome} {recorded_at}", proposal.attempt, proposal.fingerprint))
}

/// The words of an entry's text that are not read yet.
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
        // None is written as no word at all.
        let description = text.parse().ok().filter(|it: &Description| !it.is_empty());
        description.ok_or_else(|| self.read.damaged("description"))
    }
}

/// Reads fields, and says which one is not as this bank writes it.
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

    /// The hash of an entry: 32 bytes. As text it would take twice as many in every entry.
    fn hash(&self) -> Result<EntryHash, StoreError> {
        let bytes = self.fields.get(HASH).and_then(|bytes| bytes.as_slice().try_into().ok());
        bytes.map(EntryHash::from_bytes).ok_or_else(|| self.damaged(HASH))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| self.damaged(name))
    }

    /// A number in the one spelling that this bank writes: the commit script compares it as text.
    fn number<T: FromStr + ToString>(&self, name: &str) -> Result<T, StoreError> {
        let number: T = self.parsed(name)?;
        if number.to_string() == self.text(name)? { Ok(number) } else { Err(self.damaged(name)) }
    }

    fn time(&self, name: &str) -> Result<bank_domain::Timestamp, StoreError> {
        self.number::<i64>(name)?.try_into().map_err(|_| self.damaged(name))
    }

    fn one_of<T: Copy>(
        &self,
        name: &str,
        values: &[T],
        spelled: fn(T) -> &'static str,
    ) -> Result<T, StoreError> {
        let text = self.text(name)?;
        values.iter().copied().find(|value| spelled(*value) == text).ok_or_else(|| self.damaged(name))
    }

    fn damaged(&self, name: &str) -> StoreError {
        StoreError::Corrupt(format!(
            "{} of account {}: field {name:?} is missing or malformed",
            self.what, self.id
        ))
    }
}
