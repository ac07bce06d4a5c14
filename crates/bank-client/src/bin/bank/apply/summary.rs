//! The summary of a run: numbers for results, and the failure that says what was not done and how to continue.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::{
    lines::Line,
    plan::ID_REUSED,
    report::{Outcome, Report, Stop},
};
use crate::{
    failure::{Exit, Failure},
    table,
    text::Text,
};

/// How many ranges of lines are shown.
const RANGES_MAX: usize = 20;

/// The report of a run, or of a dry run, in which "applied" and "rejected" are what would be.
pub(super) struct Summary<'a> {
    pub(super) report: Report,
    pub(super) lines: &'a [Line],
    pub(super) dry_run: bool,
}

impl Summary<'_> {
    pub(super) fn json(&self) -> impl Serialize {
        let [applied_key, rejected_key, not_attempted_key] = if self.dry_run {
            ["would_be_applied", "would_be_rejected", "not_checked"]
        } else {
            ["applied", "rejected", "not_attempted"]
        };
        let report = &self.report;
        json!({
            "dry_run": self.dry_run,
            "lines": report.outcomes.len(),
            applied_key: report.count(Outcome::Applied),
            "already_applied": report.count(Outcome::AlreadyApplied),
            rejected_key: report.rejected(),
            "unknown": report.count(Outcome::Unknown),
            not_attempted_key: report.count(Outcome::NotAttempted),
            "removed": report.removed_applied,
            "reasons": report.reasons,
        })
    }

    pub(super) fn table(&self) -> Text {
        let [applied, rejected, not_attempted] = if self.dry_run {
            ["Would be applied", "Would be rejected", "Not checked"]
        } else {
            ["Applied", "Rejected", "Not attempted"]
        };
        let report = &self.report;
        let facts = table::facts([
            ("Lines", report.outcomes.len().to_string()),
            (applied, report.count(Outcome::Applied).to_string()),
            ("Already applied", report.count(Outcome::AlreadyApplied).to_string()),
            (rejected, report.rejected().to_string()),
            ("Unknown", report.count(Outcome::Unknown).to_string()),
            (not_attempted, report.count(Outcome::NotAttempted).to_string()),
        ]);
        let reasons = report.reasons.iter().map(|(reason, count)| (reason.as_str(), count));
        Text::stack([facts, table::reasons("LINES", reasons)])
    }

    /// The result of the command: a failure unless all lines are applied.
    pub(super) fn verdict(self, results: Option<&Path>) -> Result<(), Failure> {
        let details = self.details();
        let Self { report, dry_run, .. } = self;
        let (rejected, unknown) =
            (report.rejected(), report.count(Outcome::Unknown) + report.removed_unknown);
        let again = match report.stop {
            Some(_) if dry_run => "nothing was changed; the lines that were not checked may be rejected",
            _ => "run the same command again: it continues, and applies no line twice",
        };
        let failure = match report.stop {
            None if unknown == 0 && rejected == 0 => return Ok(()),
            None if unknown > 0 => {
                let message = match unknown {
                    1 => "1 line has an unknown outcome".to_owned(),
                    count => format!("{count} lines have an unknown outcome"),
                };
                Failure::new(Exit::OutcomeUnknown, "UNFINISHED", message).with_hint(again)
            }
            None if dry_run => {
                let message = format!("{} would be rejected", count(rejected));
                Failure::new(Exit::Rejected, "LINES_REJECTED", message)
                    .with_hint("correct the lines before you run it")
            }
            None => {
                let were = if rejected == 1 { "was" } else { "were" };
                let message = format!("{} {were} rejected", count(rejected));
                let all_reused = report.reasons.get(ID_REUSED) == Some(&rejected);
                Failure::new(Exit::Rejected, "LINES_REJECTED", message).with_hint(if all_reused {
                    "give the lines other request ids, unless they are what was carried out under these"
                } else {
                    "correct the lines and run the same command again, or send them again as they are with \
                     --retry-rejected"
                })
            }
            Some(Stop::Unsettled) => {
                let message = "the run ended early because a line failed temporarily";
                Failure::new(Exit::Unavailable, "UNFINISHED", message).with_hint(again)
            }
            Some(Stop::Interrupted) => {
                Failure::new(Exit::Unavailable, "INTERRUPTED", "the run was interrupted").with_hint(again)
            }
            Some(Stop::Results(error)) => {
                let path = results.unwrap_or(Path::new("")).display();
                let message = format!("the run was stopped: results cannot be recorded in {path}: {error}");
                Failure::new(Exit::Failed, "RESULTS", message).with_hint(
                    "make room for the results file and run the same command again: it looks up what was sent, and \
                     applies no line twice",
                )
            }
            Some(Stop::OtherCaller(caller)) => {
                let by = caller.map_or_else(
                    || "a caller without a token".to_owned(),
                    |caller| format!("{} with the scopes {}", caller.subject, caller.scopes.join(" ")),
                );
                let message = format!(
                    "lines without a result were sent by {by}, and this caller has other request ids"
                );
                Failure::new(Exit::NotPermitted, "OTHER_CALLER", message).with_hint(
                    "continue as that caller, or later: when nothing can be in flight, the history has the outcome",
                )
            }
            Some(Stop::Bank(error)) => {
                let failure = Failure::from(error);
                let (exit, hint) = match failure.exit {
                    Exit::Invalid => (
                        Exit::Invalid,
                        "correct the lines that the error names and run the same command again",
                    ),
                    // A batch was rejected, not a line.
                    Exit::Rejected => (Exit::Failed, again),
                    exit => (exit, again),
                };
                Failure::new(exit, failure.reason, format!("the run was stopped: {failure}")).with_hint(hint)
            }
        };
        let mut failure = failure.with_details(details);
        if unknown > 0 {
            failure.exit = Exit::OutcomeUnknown;
        }
        Err(failure)
    }

    /// The lines that were not applied.
    fn details(&self) -> Vec<String> {
        let Self { report, lines, dry_run } = self;
        let mut details: Vec<_> = report
            .rejections
            .iter()
            .map(|(index, rejection)| format!("line {}: {}", lines[*index].number, rejection.message))
            .collect();
        let more = report.rejected() - report.rejections.len() as u64;
        if more > 0 {
            details.push(format!("and {more} more"));
        }
        let having = |outcome| {
            let having = report.outcomes.iter().enumerate().filter(move |(_, one)| **one == outcome);
            ranges(having.map(|(index, _)| lines[index].number))
        };
        let unrecorded = report.unrecorded.iter().map(|&index| lines[index].number);
        for (name, ranges) in [
            ("outcome unknown", having(Outcome::Unknown)),
            (if *dry_run { "not checked" } else { "not attempted" }, having(Outcome::NotAttempted)),
            ("answered, but not recorded", ranges(unrecorded)),
        ] {
            if !ranges.is_empty() {
                details.push(format!("{name}: {ranges}"));
            }
        }
        if report.removed_unknown > 0 {
            let removed = count(report.removed_unknown);
            details.push(format!(
                "{removed} sent by an earlier run, and no longer in the file, may still take effect"
            ));
        }
        details
    }
}

/// `1 line`, `2 lines`.
pub(super) fn count(lines: u64) -> String {
    if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") }
}

/// `line 5`, `lines 5, 8-12`.
fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut count = 0;
    for number in numbers {
        count += 1;
        match ranges.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    if count == 0 {
        return String::new();
    }
    let shown: Vec<_> = ranges
        .iter()
        .take(RANGES_MAX)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    let more = if ranges.len() > RANGES_MAX { format!(" and others, {count} in all") } else { String::new() };
    format!("{} {}{more}", if count == 1 { "line" } else { "lines" }, shown.join(", "))
}

#[cfg(test)]
mod tests;
