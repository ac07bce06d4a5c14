#![expect(clippy::disallowed_methods, reason = "stands in for the server, which makes statuses")]

use bank_domain::{Currency, Money};
use tonic::Code;

use super::*;

const DENIED: Code = Code::PermissionDenied;
const REFUSED: Code = Code::FailedPrecondition;
const LATER: Code = Code::Unavailable;

/// What comes of deposits whose attempts are answered so: each with a code for each operation that was sent, or not at
/// all.
fn outcomes<const N: usize>(atomic: bool, attempts: &[Option<&[Code]>]) -> [Error; N] {
    let client = BankClient::builder("http://127.0.0.1:1").connect_lazy().unwrap();
    let amount = Money { currency: Currency::USD, minor_units: 1 };
    let mut batch = client.batch();
    batch.atomic = atomic;
    for _ in 0..N {
        batch = batch.add(client.deposit("a", amount));
    }
    let progress = Progress::new(&batch);
    let mut last = Ok(());
    for codes in attempts {
        let (open, request) = progress.begin();
        let reply = match codes {
            None => Err(Error::ConnectionLost("lost".to_owned())),
            Some(codes) => {
                assert_eq!(request.operations.len(), codes.len());
                let results = codes.iter().map(|&code| result(code)).collect();
                Ok(v1::ExecuteBatchResponse { results })
            }
        };
        last = progress.take(&open, reply);
    }
    let results = progress.finish(last).unwrap();
    results.into_iter().map(Result::unwrap_err).collect::<Vec<_>>().try_into().unwrap()
}

fn result(code: Code) -> v1::OperationResult {
    let reason = match code {
        Code::Aborted => "BATCH_ABORTED",
        Code::Unavailable => "STORE_UNAVAILABLE",
        _ => "OTHER",
    };
    let metadata = [("failed_operation".to_owned(), "0".to_owned())];
    let details = tonic_types::ErrorDetails::with_error_info(reason, "bank.v1", metadata);
    let status = <tonic::Status as tonic_types::StatusExt>::with_error_details(code, "scripted", details);
    let error = <v1::OperationError as prost::Message>::decode(status.details()).unwrap();
    v1::OperationResult { outcome: Some(v1::operation_result::Outcome::Error(error)) }
}

#[tokio::test]
async fn only_a_rejection_settles_an_operation_whose_reply_was_lost() {
    for code in [DENIED, LATER] {
        let [first, second] = outcomes(false, &[None, Some(&[code, REFUSED])]);
        assert!(first.outcome_unknown(), "{first:?}");
        assert!(second.is_rejection(), "{second:?}");
    }
    let [first, second] = outcomes(false, &[Some(&[DENIED, LATER]), None]);
    assert!(matches!(first, Error::PermissionDenied { .. }), "it was answered: {first:?}");
    assert!(second.outcome_unknown(), "{second:?}");
    let [first, second] = outcomes(false, &[Some(&[DENIED, LATER])]);
    assert!(!first.outcome_unknown() && !second.outcome_unknown(), "{first:?} {second:?}");
}

#[tokio::test]
async fn the_operations_of_an_atomic_batch_are_as_certain_as_the_one_that_failed() {
    let [failed, aborted] = outcomes(true, &[None, Some(&[REFUSED, Code::Aborted])]);
    assert!(failed.is_rejection(), "{failed:?}");
    assert!(matches!(aborted, Error::BatchAborted { .. }), "{aborted:?}");
    for code in [DENIED, LATER] {
        let [failed, aborted] = outcomes(true, &[None, Some(&[code, Code::Aborted])]);
        assert!(failed.outcome_unknown() && aborted.outcome_unknown(), "{failed:?} {aborted:?}");
    }
}
