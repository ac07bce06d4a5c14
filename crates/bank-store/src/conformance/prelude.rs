//! What most cases use.

pub(super) use bank_domain::EntryKind;

pub(super) use super::{
    bank::{Bank, retry},
    commands::{
        Request, deposit, described, freeze, id, interest, named, open, owner, request_id, transfer, withdraw,
    },
};
pub(super) use crate::{AccountsQuery, EntriesQuery, Order, Outcome, RecordedOutcome};
