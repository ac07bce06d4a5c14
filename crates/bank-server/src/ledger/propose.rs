//! Decides a batch: each command on the accounts as the commands before it leave them.

use std::{sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Context, Plan, Rejection, Timestamp};
use bank_store::{Attempt, Proposal};

use super::{accounts::AccountCache, operation::decide, submission::Submission};
use crate::telemetry::{TRACES, traced};

/// Decides each command, and leaves the cache as all of them leave the accounts. The proposals compare the accounts that exist,
/// visible to the caller or not: a rejection for a concealed account is checked like any other.
pub(super) fn propose(
    batch: &[Submission],
    accounts: &mut AccountCache,
    now: Timestamp,
    ahead_max: Duration,
) -> Vec<Proposal> {
    let mut proposals = Vec::with_capacity(batch.len());
    for chain in batch.chunk_by(|submission, _| submission.linked) {
        let is_atomic = chain.len() > 1;
        let mut before: Vec<(AccountId, Option<Arc<Account>>)> = Vec::new();
        let mut is_rejected = false;
        for submission in chain {
            let proposal = decide_one(submission, accounts, now, ahead_max);
            is_rejected |= proposal.decision.is_err();
            for account in proposal.decision.iter().flat_map(Plan::changes).map(|change| &change.account) {
                if is_atomic {
                    before.push((account.id.clone(), accounts.get(&account.id).cloned()));
                }
                accounts.put(&account.id, Some(Arc::clone(account)));
            }
            proposals.push(proposal);
        }
        // Nothing of an atomic batch takes effect if one of its commands is rejected.
        if is_rejected {
            for (id, account) in before.into_iter().rev() {
                accounts.put(&id, account);
            }
        }
    }
    proposals
}

fn decide_one(
    submission: &Submission,
    accounts: &AccountCache,
    now: Timestamp,
    ahead_max: Duration,
) -> Proposal {
    let Submission { access, command, key, fingerprint, named, linked, span, .. } = submission;
    let _deciding = traced(|| tracing::info_span!(target: TRACES, parent: &*span, "decide")).entered();
    let account = |id: &AccountId| accounts.get(id).map(|account| &**account);
    let request_id = named.then(|| key.request_id.clone());
    let decision = decide(access, account, command, &Context { now, ahead_max, request_id });
    Proposal {
        key: key.clone(),
        fingerprint: *fingerprint,
        attempt: Attempt(rand::random()),
        rejection_recorded: *named && decision.as_ref().err().is_none_or(Rejection::is_outcome),
        decided_on: command.account_ids().map(|id| (id.clone(), accounts.head(id))).collect(),
        decided_at: now,
        decision,
        linked: *linked,
    }
}
