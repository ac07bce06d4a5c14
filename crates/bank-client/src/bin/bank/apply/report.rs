//! What a run has come to, in words and in numbers.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use bank_domain::visible;

use super::{
    engine::{Outcome, Report, Stop},
    lines::Line,
    plan::ID_REUSED,
};
use crate::failure::{Exit, Failure};

/// How many ranges of lines are named.
const RANGES_MAX: usize = 20;

/// How many lines of a file came to what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Whether nothing was changed: then "applied" and "rejected" are what would be.
    pub(crate) dry_run: bool,
    pub(crate) lines: u64,
    pub(crate) applied: u64,
    /// By an earlier run, or by an attempt of this one whose answer was lost.
    pub(crate) already_applied: u64,
    /// Now or by an earlier run.
    pub(crate) rejected: u64,
    pub(crate) unknown: u64,
    pub(crate) not_attempted: u64,
    /// Lines that an earlier run has applied, and that are not in the file any more. They are not among the others.
    pub(crate) removed: u64,
    /// How many lines there are of each reason.
    pub(crate) reasons: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn of(report: &Report, dry_run: bool) -> Self {
        Self {
            dry_run,
            lines: report.outcomes.len() as u64,
            applied: report.count(Outcome::Applied),
            already_applied: report.count(Outcome::AlreadyApplied),
            rejected: report.count(Outcome::Rejected) + report.count(Outcome::StaysRejected),
            unknown: report.count(Outcome::Unknown),
            not_attempted: report.count(Outcome::NotAttempted),
            removed: report.removed_applied,
            reasons: report.reasons.clone(),
        }
    }
}

/// How the command ends: what was not done, line by line, and how to continue.
pub(super) fn verdict(
    report: Report,
    lines: &[Line],
    results: Option<&Path>,
    dry_run: bool,
) -> Result<(), Failure> {
    let tally = Tally::of(&report, dry_run);
    let unknown = tally.unknown + report.removed_unknown;
    if report.stop.is_none() && unknown == 0 && tally.rejected == 0 {
        return Ok(());
    }
    let details = details(&report, lines, dry_run);
    let has_ended = report.stop.is_some();
    let (what, mut exit, reason, mut hint) = match report.stop {
        None if unknown > 0 => {
            (counted(unknown, "an unknown outcome"), Exit::OutcomeUnknown, "UNFINISHED", AGAIN)
        }
        None if dry_run => (would_be(tally.rejected), Exit::Rejected, "LINES_REJECTED", REJECTED_DRY),
        None => {
            let all_reused = tally.reasons.get(ID_REUSED) == Some(&tally.rejected);
            let hint = if all_reused { REUSED } else { REJECTED };
            (were(tally.rejected), Exit::Rejected, "LINES_REJECTED", hint)
        }
        Some(Stop::Unsettled) => (
            "the run ended early, since a line could not be carried out for now".to_owned(),
            Exit::Unavailable,
            "UNFINISHED",
            AGAIN,
        ),
        Some(Stop::Interrupted) => {
            ("the run was interrupted".to_owned(), Exit::Unavailable, "INTERRUPTED", AGAIN)
        }
        Some(Stop::Results(error)) => {
            let path = results.unwrap_or(Path::new("")).to_string_lossy();
            let path = visible::line(&path);
            let what = format!("the run was stopped: results cannot be recorded in {path}: {error}");
            (what, Exit::Failed, "RESULTS", FREE_SPACE)
        }
        Some(Stop::OtherCaller(caller)) => {
            let by = caller.map_or_else(
                || "a caller without a token".to_owned(),
                |caller| format!("{} with the scopes {}", caller.subject, caller.scopes.join(" ")),
            );
            let what = format!(
                "lines that have no result yet were sent by {by}, whose request ids are not this caller's"
            );
            (what, Exit::NotPermitted, "OTHER_CALLER", SAME_CALLER)
        }
        Some(Stop::Bank(error)) => {
            let failure = Failure::Bank(error);
            let hint = if failure.exit() == Exit::Invalid { CORRECT } else { AGAIN };
            // It is no line that was rejected.
            let exit = if failure.exit() == Exit::Rejected { Exit::Failed } else { failure.exit() };
            (format!("the run was stopped: {}", failure.text()), exit, failure.reason(), hint)
        }
    };
    if unknown > 0 {
        exit = Exit::OutcomeUnknown;
    }
    if dry_run && has_ended && hint == AGAIN {
        hint = "nothing was changed, and nothing is known of lines that were not checked";
    }
    let hint = hint.to_owned();
    Err(Failure::Apply { message: what + &details, hint, exit, reason })
}

const AGAIN: &str = "run the same command again: it continues, and applies no line twice";
const CORRECT: &str = "correct the lines that it names and run the same command again";
const FREE_SPACE: &str = "make room for the results file and run the same command again: what was sent is looked up, not applied twice";
const SAME_CALLER: &str =
    "continue as that caller, or later: once nothing can be on its way, the history tells";
const REJECTED: &str =
    "correct the lines and run the same command again, or send them again as they are with --retry-rejected";
const REUSED: &str = "give the lines other request ids if they are not what was carried out under these";
const REJECTED_DRY: &str = "correct the lines before you run it";

fn were(count: u64) -> String {
    if count == 1 { "1 line was rejected".to_owned() } else { format!("{count} lines were rejected") }
}

fn would_be(count: u64) -> String {
    format!("{} would be rejected", lines(count))
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 line has {what}") } else { format!("{count} lines have {what}") }
}

pub(super) fn lines(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// What became of which lines, where that is not as it should be.
fn details(report: &Report, lines: &[Line], dry_run: bool) -> String {
    let mut text = String::new();
    // Memory takes whatever is written.
    for (index, rejection) in &report.rejections {
        let _ = write!(text, "\n  line {}: {}", lines[*index].number, visible::line(&rejection.message));
    }
    let rejected = report.count(Outcome::Rejected) + report.count(Outcome::StaysRejected);
    let more = rejected - report.rejections.len() as u64;
    if more > 0 {
        let _ = write!(text, "\n  and {more} more");
    }
    let having = |outcome| {
        let having = report.outcomes.iter().enumerate().filter(move |(_, one)| **one == outcome);
        ranges(having.map(|(index, _)| lines[index].number))
    };
    let not_attempted = if dry_run { "not checked" } else { "not attempted" };
    for (name, ranges) in [
        ("outcome unknown", having(Outcome::Unknown)),
        (not_attempted, having(Outcome::NotAttempted)),
        ("answered, but not recorded", ranges(report.unrecorded.iter().map(|&index| lines[index].number))),
    ] {
        if !ranges.is_empty() {
            let _ = write!(text, "\n  {name}: {ranges}");
        }
    }
    if report.removed_unknown > 0 {
        let removed = self::lines(report.removed_unknown);
        let _ = write!(
            text,
            "\n  {removed} sent by an earlier run, and no longer in the file, may still take effect"
        );
    }
    text
}

/// `line 5`, `lines 5, 8-12`.
fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut count = 0;
    for number in numbers {
        count += 1;
        match ranges.last_mut() {
            // A blank line between two is none that is left out.
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
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_in_ranges() {
        for (numbers, text) in
            [(&[][..], ""), (&[5], "line 5"), (&[5, 6], "lines 5-6"), (&[2, 5, 6, 7, 9], "lines 2, 5-7, 9")]
        {
            assert_eq!(ranges(numbers.iter().copied()), text);
        }
        let odd = ranges((0..100).map(|number| 2 * number + 1));
        assert!(odd.starts_with("lines 1, 3, 5") && odd.ends_with("39 and others, 100 in all"), "{odd}");
    }
}
