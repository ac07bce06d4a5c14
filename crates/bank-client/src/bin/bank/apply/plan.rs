//! Decides from the results file what to do with each line. Pure.

use std::collections::{HashMap, HashSet};

use bank_client::RequestId;

use super::{
    instruction::Content,
    journal::{History, Key, Pending, Request, State},
    lines::{Identity, Line, Problems},
};

/// The reason of a request whose id was used before for another request. Such a line is never sent under a new id: what
/// was carried out under the old one may have been this line.
pub(super) const ID_REUSED: &str = "REQUEST_ID_REUSED";

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The id under which the line is or was sent.
    pub(super) request_id: RequestId,
    /// What to do: nothing if it was applied or rejected, settle it if it is pending, else send it.
    pub(super) state: State,
    /// That of its line, unless some of several identical lines were removed.
    pub(super) identity: Identity,
    /// How often the line was rejected under other ids.
    attempt: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    /// The name of the run; not used for lines with their own request id.
    pub(super) name: &'a str,
    pub(super) retry_rejected: bool,
    /// The number of lines of an atomic batch.
    pub(super) atomic: Option<usize>,
}

/// A step for each line.
///
/// # Errors
/// Lines that contradict the results file.
pub(super) fn plan(lines: &[Line], history: &History, options: Options<'_>) -> Result<Vec<Step>, Problems> {
    let mut problems = Problems::default();
    let mut steps: Vec<_> = identities(lines, history, options.name)
        .zip(lines)
        .map(|(identity, line)| {
            if is_another_operation(line, history) {
                let problem =
                    "request_id was sent before for another operation; give the changed line a new one";
                problems.add(line.number, problem.to_owned());
            }
            step(line, identity, history, options.name)
        })
        .collect();
    let size = options.atomic.unwrap_or(1);
    for (lines, steps) in lines.chunks(size).zip(steps.chunks_mut(size)) {
        let is_corrected = is_corrected(steps);
        if options.atomic.is_some() && !is_corrected && !is_whole(steps) {
            let (first, last) = (lines[0].number, lines[lines.len() - 1].number);
            problems.add(
                first,
                format!(
                    "lines {first} to {last} are one atomic batch now, but were not when some of them were sent; \
                     restore their order, and add new lines at the end"
                ),
            );
        }
        if options.retry_rejected || is_corrected {
            retry(steps, options.name);
        }
    }
    problems.none_or(steps)
}

/// The size limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSize {
    /// The maximum; of atomic batches except the last, the exact number.
    pub(super) lines: usize,
    /// The maximum, except of atomic batches, which are not split.
    pub(super) bytes: usize,
}

/// The indexes of the lines to send or to settle, batch by batch.
pub(super) fn batches(lines: &[Line], steps: &[Step], size: BatchSize, atomic: bool) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (index, (line, step)) in lines.iter().zip(steps).enumerate() {
        let is_full = if atomic {
            index % size.lines == 0
        } else {
            batch.len() == size.lines || bytes + line.bytes > size.bytes
        };
        if is_full && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        if matches!(step.state, State::NotApplied | State::Pending(_)) {
            batch.push(index);
            bytes += line.bytes;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Requests in the results file whose lines are no longer in the file of operations.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Requests without a result.
    pub(super) pending: Vec<(Key, Request, Pending)>,
    /// The number of applied requests.
    pub(super) applied: u64,
}

pub(super) fn removed(lines: &[Line], steps: &[Step], history: &History) -> Removed {
    let present: HashSet<Key> =
        lines.iter().zip(steps).map(|(line, step)| key(line, &step.request_id)).collect();
    let mut removed = Removed::default();
    for (key, request) in history.requests.iter().filter(|(key, _)| !present.contains(*key)) {
        match &request.state {
            State::Pending(pending) => removed.pending.push((key.clone(), request.clone(), pending.clone())),
            State::Applied => removed.applied += 1,
            State::Rejected(_) | State::NotApplied => {}
        }
    }
    removed.pending.sort_by_key(|(_, request, _)| request.line);
    removed
}

fn key(line: &Line, request_id: &RequestId) -> Key {
    (line.instruction.account_id.clone(), request_id.clone())
}

fn request<'a>(line: &Line, request_id: &RequestId, history: &'a History) -> Option<&'a Request> {
    history.requests.get(&key(line, request_id))
}

/// Whether the line's own request id was sent for another operation. If that was not carried out, the id is free.
fn is_another_operation(line: &Line, history: &History) -> bool {
    let content = line.identity.content_of_given();
    content.is_some()
        && request(line, &line.identity.request_id("", 0), history)
            .is_some_and(|request| request.content != content && request.state != State::NotApplied)
}

/// The identity of each line. If the results file has more identical lines than the file, some were removed; those
/// that were or may have been applied are taken to be the remaining ones. Otherwise a rejected line could be sent again
/// although its payment was made by the line that was removed.
fn identities<'a>(
    lines: &'a [Line],
    history: &History,
    name: &str,
) -> impl Iterator<Item = Identity> + use<'a> {
    let mut alike: HashMap<Content, (&Line, usize)> = HashMap::new();
    for line in lines {
        if let Identity::Derived { content, .. } = line.identity {
            alike.entry(content).or_insert((line, 0)).1 += 1;
        }
    }
    let mut kept: HashMap<Content, std::vec::IntoIter<u32>> = HashMap::new();
    for (content, (line, count)) in alike {
        let identity = |ordinal| Identity::Derived { content, ordinal };
        // They were sent in order, so their ordinals have no gaps.
        let mut sent: Vec<u32> = (1..u32::MAX)
            .take_while(|&ordinal| request(line, &identity(ordinal).request_id(name, 0), history).is_some())
            .collect();
        if sent.len() > count {
            sent.sort_by_key(|&ordinal| match step(line, identity(ordinal), history, name).state {
                State::Applied => 0,
                State::Pending(_) => 1,
                State::Rejected(_) | State::NotApplied => 2,
            });
            sent.truncate(count);
            sent.sort_unstable();
            kept.insert(content, sent.into_iter());
        }
    }
    lines.iter().map(move |line| match line.identity {
        Identity::Derived { content, ordinal } => {
            let kept = kept.get_mut(&content).and_then(Iterator::next);
            Identity::Derived { content, ordinal: kept.unwrap_or(ordinal) }
        }
        Identity::Given { .. } => line.identity.clone(),
    })
}

/// The step of a line, if rejected lines are not sent again: it follows from the last attempt.
fn step(line: &Line, identity: Identity, history: &History, name: &str) -> Step {
    let mut attempt = 0;
    let mut request_id = identity.request_id(name, attempt);
    loop {
        let state =
            request(line, &request_id, history).map_or(State::NotApplied, |request| request.state.clone());
        if matches!(state, State::Rejected(_)) {
            let next = identity.request_id(name, attempt + 1);
            if request(line, &next, history).is_some() {
                (attempt, request_id) = (attempt + 1, next);
                continue;
            }
        }
        return Step { request_id, state, identity, attempt };
    }
}

/// Whether the lines of an atomic batch were sent as one batch before, or none of them was sent.
fn is_whole(steps: &[Step]) -> bool {
    let same = |one: &State, other: &State| match (one, other) {
        (State::Pending(one), State::Pending(other)) => {
            one.batch == other.batch && one.atomic && one.batch_lines == steps.len()
        }
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    };
    steps.iter().all(|step| same(&step.state, &steps[0].state))
}

/// Whether a batch was rejected and some of its lines were changed since: it is a new batch.
fn is_corrected(steps: &[Step]) -> bool {
    let new = steps.iter().filter(|step| step.state == State::NotApplied).count();
    0 < new
        && new < steps.len()
        && steps.iter().all(|step| step.state == State::NotApplied || may_be_sent_again(step))
}

fn may_be_sent_again(step: &Step) -> bool {
    matches!(&step.state, State::Rejected(rejection) if rejection.reason != ID_REUSED)
}

/// Gives rejected lines the ids of their next attempt: a single line, or all of an atomic batch.
fn retry(steps: &mut [Step], name: &str) {
    if steps.iter().all(|step| step.state == State::NotApplied || may_be_sent_again(step)) {
        for step in steps.iter_mut().filter(|step| step.state != State::NotApplied) {
            step.attempt += 1;
            step.request_id = step.identity.request_id(name, step.attempt);
            step.state = State::NotApplied;
        }
    }
}
