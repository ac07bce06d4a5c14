//! What most cases use.

pub(super) use bank_domain::{Entry, EntryKind};

pub(super) use super::{
    bank::{Bank, retry},
    commands::{
        close, currency, deposit, described, freeze, id, interest, limit, named, open, owner, request_id,
        transfer, unfreeze, withdraw,
    },
};
pub(super) use crate::{AccountsQuery, EntriesQuery, Order, Outcome, Proposal, RecordedOutcome};
