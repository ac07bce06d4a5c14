//! Decides a batch: each command on the accounts as those before it leave them.

use bank_domain::{Account, AccountId, Context, Plan};
use bank_store::{Attempt, Proposal, Stamp};

use super::{Accounts, decide, now, submission::Submission};
use crate::telemetry::{TRACES, traced};

/// Decides each command, as far as its caller may see the accounts. What it is compared with is what is
/// there: a refusal for what is concealed is as checked as any.
pub(super) fn propose(batch: &mut [Submission], accounts: Accounts) -> Vec<Proposal> {
    let mut proposer = Proposer { accounts, now: now() };
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

struct Proposer {
    accounts: Accounts,
    now: bank_domain::Timestamp,
}

impl Proposer {
    fn propose(&self, submission: &mut Submission) -> Proposal {
        let Submission { access, command, key, fingerprint, named, linked, extent, span, .. } = submission;
        let _deciding = traced(|| tracing::info_span!(target: TRACES, parent: &*span, "decide")).entered();
        let account = |id: &AccountId| self.accounts.get(id).and_then(Option::as_ref);
        *extent = access.extent(command, account(command.account_id()));
        let decided_on = command.account_ids().map(|id| (id.clone(), account(id).map(Stamp::of))).collect();
        let context = Context { now: self.now, request_id: named.then(|| key.request_id.clone()) };
        Proposal {
            key: key.clone(),
            fingerprint: *fingerprint,
            attempt: Attempt(rand::random()),
            refusal_recorded: *named,
            decided_on,
            decision: decide(access, account, command, &context),
            linked: *linked,
        }
    }

    /// If one of a chain is refused, nothing of it comes to be.
    fn propose_chain(&mut self, chain: &mut [Submission], proposals: &mut Vec<Proposal>) {
        let mut before: Vec<(AccountId, Option<Account>)> = Vec::new();
        let mut is_refused = false;
        for submission in chain {
            let proposal = self.propose(submission);
            is_refused |= proposal.decision.is_err();
            for change in proposal.decision.iter().flat_map(Plan::changes) {
                let id = &change.account.id;
                before.push((id.clone(), self.accounts.get(id).cloned().flatten()));
            }
            self.advance(&proposal);
            proposals.push(proposal);
        }
        if is_refused {
            self.accounts.extend(before.into_iter().rev());
        }
    }

    fn advance(&mut self, proposal: &Proposal) {
        for account in proposal.decision.iter().flat_map(Plan::changes).map(|change| &change.account) {
            self.accounts.insert(account.id.clone(), Some(account.clone()));
        }
    }
}
