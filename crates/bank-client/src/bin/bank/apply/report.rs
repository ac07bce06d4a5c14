//! The outcome of a run.

use std::{collections::BTreeMap, io};

use bank_client::Error;

use super::{
    journal::{Caller, Cause, State},
    plan::Step,
};

/// How many rejections are shown line by line.
const REJECTIONS_SHOWN_MAX: usize = 20;

/// The outcome of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    #[default]
    NotAttempted,
    Applied,
    AlreadyApplied,
    Rejected,
    /// Rejected in an earlier run.
    StaysRejected,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Report {
    /// One for each line.
    pub(super) outcomes: Vec<Outcome>,
    /// The number of lines that were rejected, not carried out or are unknown, by reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// The first rejections: the index of the line, and why.
    pub(super) rejections: Vec<(usize, Cause)>,
    /// The indexes of lines whose results could not be written to the results file.
    pub(super) unrecorded: Vec<usize>,
    /// The number of applied lines that are no longer in the file.
    pub(super) removed_applied: u64,
    /// The number of lines that are no longer in the file and may still take effect.
    pub(super) removed_unknown: u64,
    /// Why the run ended early.
    pub(super) stop: Option<Stop>,
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bank failed, or refused a batch.
    Bank(Error),
    /// The results cannot be recorded.
    Results(io::Error),
    /// The user has interrupted it.
    Interrupted,
    /// A line failed temporarily or its outcome is unknown; later lines must not overtake it.
    Unsettled,
    /// Another caller has sent lines whose outcome cannot be known yet.
    OtherCaller(Option<Caller>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Bank(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Results(error)
    }
}

impl Report {
    /// The report of a run before it sends anything.
    pub(super) fn begin(steps: &[Step]) -> Self {
        let mut report = Self { outcomes: vec![Outcome::NotAttempted; steps.len()], ..Self::default() };
        for (index, step) in steps.iter().enumerate() {
            match &step.state {
                State::Applied => report.outcomes[index] = Outcome::AlreadyApplied,
                State::Rejected(rejection) => {
                    report.set(index, Outcome::StaysRejected, Some(rejection));
                }
                State::Pending(_) => report.outcomes[index] = Outcome::Unknown,
                State::NotApplied => {}
            }
        }
        report
    }

    /// Sets the outcome of a line, and counts the error.
    pub(super) fn set(&mut self, index: usize, outcome: Outcome, error: Option<&Cause>) {
        self.outcomes[index] = outcome;
        let Some(error) = error else { return };
        *self.reasons.entry(error.reason.clone()).or_default() += 1;
        let is_rejected = matches!(outcome, Outcome::Rejected | Outcome::StaysRejected);
        if is_rejected && self.rejections.len() < REJECTIONS_SHOWN_MAX {
            self.rejections.push((index, error.clone()));
        }
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.iter().filter(|&&one| one == outcome).count() as u64
    }

    pub(super) fn rejected(&self) -> u64 {
        self.count(Outcome::Rejected) + self.count(Outcome::StaysRejected)
    }
}
