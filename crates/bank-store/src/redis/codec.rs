//! Accounts, entries and request records as Redis holds them: legible fields, exact integers.

use std::{
    collections::{BTreeMap, HashMap},
    str,
};

use bank_domain::{
    Account, AccountId, AccountState, AccountType, Currency, Description, Entry, EntryHash, EntryId,
    EntryKind, Labels, Money, RequestId, TransactionId, interest,
};

use crate::{Proposal, StoreError, checks};

/// The fields of a hash or of one stream entry. All are text but the hash of an entry.
pub(super) type Fields = HashMap<String, Vec<u8>>;

const LABEL: &str = "label:";
/// The field of an entry's hash; the commit script writes it.
pub(super) const ENTRY_HASH: &str = "hash";

/// The fields of an account that an entry changes; all of them for the first one.
pub(super) fn account_fields(account: &Account, entry: &Entry) -> Vec<String> {
    let mut fields = FieldList::default();
    fields.push("balance", &account.balance.minor_units);
    fields.push("version", &account.version);
    fields.push("updated_at", &account.updated_at.unix_ms());
    fields.push("hash", &account.head);
    match entry.kind {
        EntryKind::Deposit
        | EntryKind::Withdrawal
        | EntryKind::TransferOut { .. }
        | EntryKind::TransferIn { .. }
        | EntryKind::Interest { .. } => return fields.0,
        EntryKind::OverdraftLimitSet { .. }
        | EntryKind::AccountFrozen
        | EntryKind::AccountUnfrozen
        | EntryKind::AccountClosed => {}
        EntryKind::AccountOpened { .. } => {
            fields.push("type", &account.account_type.as_str());
            fields.push("currency", &account.currency);
            fields.push("owner", &account.owner);
            fields.push("opened_at", &account.opened_at.unix_ms());
            for (key, value) in account.labels.iter() {
                fields.push(&format!("{LABEL}{key}"), value);
            }
        }
    }
    fields.push("state", &account.state.as_str());
    fields.push("overdraft_limit", &account.overdraft_limit.minor_units);
    fields.0
}

/// An account from its hash; `None` where there is none.
pub(super) fn account(id: &AccountId, fields: &Fields) -> Result<Option<Account>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let read = Reader { what: "account", id, fields };
    let currency: Currency = read.parsed("currency")?;
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
        balance: Money { currency, minor_units: read.number("balance")? },
        overdraft_limit: Money { currency, minor_units: read.number("overdraft_limit")? },
        version: read.number("version")?,
        opened_at: read.time("opened_at")?,
        updated_at: read.time("updated_at")?,
        head: read.parsed("hash")?,
    };
    if let Some(field) = checks::unsound_field(&account) {
        return Err(read.damaged(field));
    }
    Ok(Some(account))
}

/// The fields of a stream entry but for its hash. Its id, account and currency are where it stands.
pub(super) fn entry_fields(entry: &Entry) -> Vec<String> {
    let mut fields = FieldList::default();
    fields.push("kind", &entry.kind.as_str());
    fields.push("amount", &entry.amount.minor_units);
    fields.push("balance", &entry.balance_after.minor_units);
    match &entry.kind {
        EntryKind::TransferOut { destination } => fields.push("to", destination),
        EntryKind::TransferIn { source } => {
            fields.push("from", source);
            fields.push("transaction", &entry.transaction_id);
        }
        EntryKind::Interest { terms, period } => {
            fields.push("annual_rate", &terms.annual_rate);
            fields.push("day_count", &terms.day_count.as_str());
            fields.push("compounding", &terms.compounding.as_str());
            fields.push("rounding_mode", &terms.rounding_mode.as_str());
            fields.push("period", period);
        }
        EntryKind::AccountOpened { overdraft_limit: limit } | EntryKind::OverdraftLimitSet { limit } => {
            fields.push("overdraft_limit", &limit.minor_units);
        }
        EntryKind::Deposit
        | EntryKind::Withdrawal
        | EntryKind::AccountFrozen
        | EntryKind::AccountUnfrozen
        | EntryKind::AccountClosed => {}
    }
    if let Some(request_id) = &entry.request_id {
        fields.push("request", request_id);
    }
    if !entry.description.is_empty() {
        fields.push("description", &entry.description);
    }
    fields.0
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
    let money = |name| read.parsed(name).map(|minor_units| Money { currency, minor_units });
    let kind = match read.text("kind")? {
        "account_opened" => EntryKind::AccountOpened { overdraft_limit: money("overdraft_limit")? },
        "deposit" => EntryKind::Deposit,
        "withdrawal" => EntryKind::Withdrawal,
        "transfer_out" => EntryKind::TransferOut { destination: read.parsed("to")? },
        "transfer_in" => EntryKind::TransferIn { source: read.parsed("from")? },
        "interest" => EntryKind::Interest {
            terms: interest::Terms {
                annual_rate: read.parsed("annual_rate")?,
                day_count: read.parsed("day_count")?,
                compounding: read.parsed("compounding")?,
                rounding_mode: read.parsed("rounding_mode")?,
            },
            period: read.period("period")?,
        },
        "overdraft_limit_set" => EntryKind::OverdraftLimitSet { limit: money("overdraft_limit")? },
        "account_frozen" => EntryKind::AccountFrozen,
        "account_unfrozen" => EntryKind::AccountUnfrozen,
        "account_closed" => EntryKind::AccountClosed,
        _ => return Err(read.damaged("kind")),
    };
    let transaction_id = match &kind {
        EntryKind::TransferIn { .. } => read.parsed("transaction")?,
        _ => TransactionId { account_id: account_id.clone(), entry_id: id },
    };
    Ok(Entry {
        transaction_id,
        account_id: account_id.clone(),
        sequence: id.sequence,
        time: id.time,
        kind,
        amount: money("amount")?,
        balance_after: money("balance")?,
        request_id: read.optional::<RequestId>("request")?,
        description: read.optional::<Description>("description")?.unwrap_or_default(),
        hash: read.hash()?,
    })
}

/// The field of a request within its partition's records. Neither an account id nor a request id
/// has a space in it; a caller's name comes last, since it may.
pub(super) fn request_field(proposal: &Proposal) -> String {
    let key = &proposal.key;
    format!("{} {} {}", key.account_id, key.request_id, key.caller.as_str())
}

/// The record of a request: `<attempt> <fingerprint> <outcome>`, where the outcome is the id of the
/// entry on the account that the request names first, or the refusal in JSON. The commit script puts
/// the second it is recorded at after it.
pub(super) fn request_record(proposal: &Proposal) -> Result<String, StoreError> {
    let outcome = match &proposal.decision {
        Ok(plan) => plan.primary.entry.id().to_string(),
        Err(refusal) => serde_json::to_string(refusal)
            .map_err(|error| StoreError::Misconfigured(format!("a refusal cannot be encoded: {error}")))?,
    };
    Ok(format!("{} {} {outcome}", proposal.attempt, proposal.fingerprint))
}

#[derive(Default)]
struct FieldList(Vec<String>);

impl FieldList {
    fn push<T: ToString + ?Sized>(&mut self, name: &str, value: &T) {
        self.0.push(name.to_owned());
        self.0.push(value.to_string());
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
        let bytes = self.fields.get(ENTRY_HASH).and_then(|bytes| bytes.as_slice().try_into().ok());
        bytes.map(EntryHash::from_bytes).ok_or_else(|| self.damaged(ENTRY_HASH))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| self.damaged(name))
    }

    /// A number in the one spelling that this bank writes: the commit script compares it as text.
    fn number<T: std::str::FromStr + ToString>(&self, name: &str) -> Result<T, StoreError> {
        let number: T = self.parsed(name)?;
        if number.to_string() == self.text(name)? { Ok(number) } else { Err(self.damaged(name)) }
    }

    fn optional<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        if self.fields.contains_key(name) { self.parsed(name).map(Some) } else { Ok(None) }
    }

    fn time(&self, name: &str) -> Result<bank_domain::Timestamp, StoreError> {
        self.number::<i64>(name)?.try_into().map_err(|_| self.damaged(name))
    }

    fn period(&self, name: &str) -> Result<interest::Period, StoreError> {
        let text = self.text(name)?;
        if text == interest::Period::OneYear.to_string() {
            return Ok(interest::Period::OneYear);
        }
        let (start, end) = text.split_once('/').ok_or_else(|| self.damaged(name))?;
        let range = interest::DateRange::parse(start, end).map_err(|_| self.damaged(name))?;
        Ok(range.into())
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
