//! Decides a batch: each command on the accounts as those before it leave them.

use std::{sync::Arc, time::Duration};

use bank_domain::{Account, AccountId, Context, Plan, Rejection, Timestamp};
use bank_store::{Attempt, Proposal};

use super::{decide, remembered::Remembered, submission::Submission};
use crate::telemetry::{TRACES, traced};

/// Decides each command, as far as its caller may see the accounts. What it is compared with is what is
/// there: a rejection for what is concealed is as checked as any.
///
/// Afterwards the accounts are remembered as all of it leaves them.
pub(super) fn propose(
    batch: &mut [Submission],
    accounts: &mut Remembered,
    now: Timestamp,
    ahead_max: Duration,
) -> Vec<Proposal> {
    let mut proposer = Proposer { accounts, now, ahead_max };
    let mut proposals = Vec::with_capacity(batch.len());
    for chain in batch.chunk_by_mut(|submission, _| submission.linked) {
        if let [submission] = chain {
            let proposal = proposer.propose(submission);
            proposer.advance(&proposal);
            proposals.push(proposal);
        } else {
            proposer.propose_chain(chain, &mut proposals);
        }
    }
    proposals
}

struct Proposer<'a> {
    accounts: &'a mut Remembered,
    now: Timestamp,
    ahead_max: Duration,
}

impl Proposer<'_> {
    fn propose(&self, submission: &mut Submission) -> Proposal {
        let Submission { access, command, key, fingerprint, named, linked, extent, span, .. } = submission;
        let _deciding = traced(|| tracing::info_span!(target: TRACES, parent: &*span, "decide")).entered();
        let account = |id: &AccountId| self.accounts.account(id).map(|it| &**it);
        *extent = access.extent(command, account(command.account_id()));
        let decided_on = command.account_ids().map(|id| (id.clone(), self.accounts.head(id))).collect();
        let request_id = named.then(|| key.request_id.clone());
        let context = Context { now: self.now, ahead_max: self.ahead_max, request_id };
        let decision = decide(access, account, command, &context);
        Proposal {
            key: key.clone(),
            fingerprint: *fingerprint,
            attempt: Attempt(rand::random()),
            rejection_recorded: *named && decision.as_ref().err().is_none_or(Rejection::is_outcome),
            decided_on,
            decided_at: self.now,
            decision,
            linked: *linked,
        }
    }

    /// If one of a chain is refused, nothing of it comes to be.
    fn propose_chain(&mut self, chain: &mut [Submission], proposals: &mut Vec<Proposal>) {
        let mut before: Vec<(AccountId, Option<Arc<Account>>)> = Vec::new();
        let mut is_rejected = false;
        for submission in chain {
            let proposal = self.propose(submission);
            is_rejected |= proposal.decision.is_err();
            for change in proposal.decision.iter().flat_map(Plan::changes) {
                let id = &change.account.id;
                before.push((id.clone(), self.accounts.account(id).cloned()));
            }
            self.advance(&proposal);
            proposals.push(proposal);
        }
        if is_rejected {
            for (id, account) in before.into_iter().rev() {
                self.accounts.put(&id, account);
            }
        }
    }

    fn advance(&mut self, proposal: &Proposal) {
        for account in proposal.decision.iter().flat_map(Plan::changes).map(|change| &change.account) {
            self.accounts.put(&account.id, Some(Arc::clone(account)));
        }
    }
}
