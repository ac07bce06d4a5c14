//! What the bank's answer to a line says about it.

use bank_client::{Done, Error, Results};

use crate::apply::{journal::Rejection, lines::Line};

#[derive(Debug)]
pub(super) enum Answer {
    Applied(Box<Done>),
    /// The bank has decided so, and remembers it under the request id.
    Rejected(Rejection),
    /// The bank did not get as far as to look at the request id.
    TurnedAway(Rejection),
    /// Not carried out, for now.
    Later(Rejection),
    /// It may have been carried out.
    Unknown(Rejection),
    /// The bank did nothing of the batch.
    NothingDone,
    /// The bank takes the batch for malformed, and did nothing of it. Another server may have seen it otherwise.
    Malformed,
}

/// An answer for each line of a batch, and the error of the batch if it has one.
pub(super) fn answers(
    results: Result<Results, Error>,
    lines: &[Line],
    batch: &[usize],
) -> (Vec<Answer>, Option<Error>) {
    let all = |answer: &dyn Fn() -> Answer| batch.iter().map(|_| answer()).collect();
    match results {
        Ok(results) if results.len() == batch.len() => (each(results, lines, batch), None),
        Ok(results) => {
            let problem = format!("{} results of {} operations", results.len(), batch.len());
            let unknown = || {
                Answer::Unknown(Rejection { reason: "INVALID_REPLY".to_owned(), message: problem.clone() })
            };
            (all(&unknown), None)
        }
        Err(error) if error.is_rejection() => (all(&|| Answer::Malformed), Some(error)),
        Err(error) => (all(&|| Answer::NothingDone), Some(error)),
    }
}

fn each(results: Results, lines: &[Line], batch: &[usize]) -> Vec<Answer> {
    // The others of an atomic batch are what the one is that failed.
    let aborted_by = results.iter().find_map(|result| match result {
        Err(Error::BatchAborted { failed_operation }) => results.get(*failed_operation)?.as_ref().err(),
        _ => None,
    });
    let make = aborted_by.map(kind);
    results
        .into_iter()
        .map(|result| match (result, make) {
            (Ok(done), _) => Answer::Applied(Box::new(done)),
            (Err(error @ Error::BatchAborted { .. }), Some(make)) => make(rejection(&error, lines, batch)),
            (Err(error), _) => kind(&error)(rejection(&error, lines, batch)),
        })
        .collect()
}

/// Why a line of a batch failed. The line that an atomic batch failed with is named as one of the file.
pub(in crate::apply) fn rejection(error: &Error, lines: &[Line], batch: &[usize]) -> Rejection {
    let mut rejection = Rejection::of(error);
    if let Error::BatchAborted { failed_operation } = error
        && let Some(&failed) = batch.get(*failed_operation)
    {
        rejection.message = format!("line {} failed, and both are of one atomic batch", lines[failed].number);
    }
    rejection
}

/// Which answer an error of a line is. What is not certain is unknown.
fn kind(error: &Error) -> fn(Rejection) -> Answer {
    match error {
        // Something was carried out or rejected under the id that is not this, as far as the bank can see.
        Error::RequestIdReused { .. }
        | Error::InvalidArgument { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. } => Answer::TurnedAway,
        Error::Overloaded { .. } | Error::Unavailable { .. } => Answer::Later,
        // What the bank says of one that was carried out before is no decision about it.
        error if error.is_rejection() && !matches!(error, Error::PartlyExecuted { .. }) => Answer::Rejected,
        _ => Answer::Unknown,
    }
}
