//! What is to be done about each line, given what the results file says. Pure.

use std::collections::{HashMap, HashSet};

use bank_client::RequestId;

use super::{
    instruction::Content,
    journal::{History, Key, Pending, Rejection, Request, State},
    lines::{Identity, Line, Problems},
};

/// The reason of a request whose id was used before, for another request. Such a line is never sent under a new id:
/// what was done under the old one may have been this line.
pub(super) const ID_REUSED: &str = "REQUEST_ID_REUSED";

/// What is to be done about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Under which it is sent, or was.
    pub(super) request_id: RequestId,
    pub(super) action: Action,
    /// That of its line, but for identical lines of which some were removed.
    pub(super) identity: Identity,
    /// How often it was rejected before under other ids.
    attempt: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// An earlier run has applied it.
    AlreadyApplied,
    /// The bank rejected it in an earlier run.
    StaysRejected(Rejection),
    /// It is sent for the first time under this id, or was certainly not carried out under it.
    Send,
    /// An earlier run may have sent it under this id.
    Settle(Pending),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    /// Of the run; of no use where every line has its own request id.
    pub(super) name: &'a str,
    pub(super) retry_rejected: bool,
    /// How many lines at a time are all or nothing.
    pub(super) atomic: Option<usize>,
}

/// What is to be done about each line.
///
/// # Errors
/// Lines that cannot be those that the results file tells of.
pub(super) fn plan(lines: &[Line], history: &History, options: Options<'_>) -> Result<Vec<Step>, Problems> {
    let mut problems = Problems::default();
    let mut steps: Vec<_> = identities(lines, history, options.name)
        .zip(lines)
        .map(|(identity, line)| {
            if is_another_operation(line, history) {
                let what =
                    "request_id was sent before for another operation; give the changed line a new one";
                problems.add(line.number, what.to_owned());
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
                    "lines {first} to {last} are one atomic batch now, and were not when some of them were sent; \
                     put them back, and add new lines at the end"
                ),
            );
        }
        if options.retry_rejected || is_corrected {
            retry(steps, options.name);
        }
    }
    problems.none_or(steps)
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSize {
    /// An atomic batch is exactly so many lines of the file, but for the last.
    pub(super) lines: usize,
    /// An atomic batch is not divided.
    pub(super) bytes: usize,
}

/// The lines that are to be sent or settled, batch by batch, by their indexes.
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
        if matches!(step.action, Action::Send | Action::Settle(_)) {
            batch.push(index);
            bytes += line.bytes;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// What the results file tells of, and the file of operations has no more.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Requests whose results are not known.
    pub(super) pending: Vec<(Key, Request, Pending)>,
    pub(super) applied: u64,
}

pub(super) fn removed(lines: &[Line], steps: &[Step], history: &History) -> Removed {
    let there: HashSet<Key> =
        lines.iter().zip(steps).map(|(line, step)| key(line, &step.request_id)).collect();
    let mut removed = Removed::default();
    for (key, request) in history.requests.iter().filter(|(key, _)| !there.contains(*key)) {
        match &request.state {
            State::Pending(pending) => removed.pending.push((key.clone(), request.clone(), pending.clone())),
            State::Applied => removed.applied += 1,
            State::Rejected(_) | State::NotApplied => {}
        }
    }
    removed.pending.sort_by_key(|(_, request, _)| request.line);
    removed
}

pub(super) fn key(line: &Line, request_id: &RequestId) -> Key {
    (line.instruction.account_id.clone(), request_id.clone())
}

fn request<'a>(line: &Line, request_id: &RequestId, history: &'a History) -> Option<&'a Request> {
    history.requests.get(&key(line, request_id))
}

/// Whether the line's own request id was sent for something else. If that was not carried out, the id is free.
fn is_another_operation(line: &Line, history: &History) -> bool {
    let content = line.identity.content_of_given();
    content.is_some()
        && request(line, &line.identity.request_id("", 0), history)
            .is_some_and(|request| request.content != content && request.state != State::NotApplied)
}

/// Under which identity each line goes on. Where the results file tells of more identical lines than the file has,
/// some were removed: those that were applied, or may have been, are the ones that stay. Otherwise a line that stays
/// rejected could be sent again although the payment that it asks for was made as the line that was removed.
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
        // They were sent in their order, so their ordinals have no gaps.
        let mut sent: Vec<u32> = (1..u32::MAX)
            .take_while(|&ordinal| request(line, &identity(ordinal).request_id(name, 0), history).is_some())
            .collect();
        if sent.len() > count {
            sent.sort_by_key(|&ordinal| match step(line, identity(ordinal), history, name).action {
                Action::AlreadyApplied => 0,
                Action::Settle(_) => 1,
                Action::StaysRejected(_) | Action::Send => 2,
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

/// What is to be done about a line unless rejected lines are sent again: it goes on where its last attempt was.
fn step(line: &Line, identity: Identity, history: &History, name: &str) -> Step {
    let mut attempt = 0;
    let mut request_id = identity.request_id(name, attempt);
    loop {
        let action = match request(line, &request_id, history).map(|request| &request.state) {
            None | Some(State::NotApplied) => Action::Send,
            Some(State::Applied) => Action::AlreadyApplied,
            Some(State::Pending(pending)) => Action::Settle(pending.clone()),
            Some(State::Rejected(rejection)) => {
                let next = identity.request_id(name, attempt + 1);
                if request(line, &next, history).is_some() {
                    (attempt, request_id) = (attempt + 1, next);
                    continue;
                }
                Action::StaysRejected(rejection.clone())
            }
        };
        return Step { request_id, action, identity, attempt };
    }
}

/// Whether the lines of an atomic batch were sent as one before, or none of them was.
fn is_whole(steps: &[Step]) -> bool {
    let same = |one: &Action, other: &Action| match (one, other) {
        (Action::Settle(one), Action::Settle(other)) => {
            one.batch == other.batch && one.atomic && one.batch_lines == steps.len()
        }
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    };
    steps.iter().all(|step| same(&step.action, &steps[0].action))
}

/// Whether a batch was rejected, and some of its lines are others now: it is another batch, of which nothing was done.
fn is_corrected(steps: &[Step]) -> bool {
    let new = steps.iter().filter(|step| step.action == Action::Send).count();
    0 < new
        && new < steps.len()
        && steps.iter().all(|step| step.action == Action::Send || may_be_sent_again(step))
}

fn may_be_sent_again(step: &Step) -> bool {
    matches!(&step.action, Action::StaysRejected(rejection) if rejection.reason != ID_REUSED)
}

/// Gives lines that were rejected the ids of their next attempt: a line by itself, or all of an atomic batch.
fn retry(steps: &mut [Step], name: &str) {
    if steps.iter().all(|step| step.action == Action::Send || may_be_sent_again(step)) {
        for step in steps.iter_mut().filter(|step| step.action != Action::Send) {
            step.attempt += 1;
            step.request_id = step.identity.request_id(name, step.attempt);
            step.action = Action::Send;
        }
    }
}
