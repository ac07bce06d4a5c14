//! The places that calls in flight take up, of one caller or of all: so many in all, and of those so many
//! that hold batches of operations.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const EXECUTE_BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const EXECUTE_STREAM: &str = "/bank.v1.BankService/ExecuteStream";

/// How many calls to the bank may be in flight.
#[derive(Clone, Copy, Debug)]
pub struct CallBounds {
    /// In all.
    pub calls_in_flight_max: usize,
    /// Of those, batches.
    pub concurrent_batches_max: usize,
    /// Of those, streams of batches.
    pub batch_streams_max: usize,
}

/// What a call takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The message of one operation.
    Single,
    /// That of many.
    Batch,
    /// Those of many, one after another.
    Stream,
}

/// The places that there are.
#[derive(Debug)]
pub(crate) struct Places {
    bounds: CallBounds,
    calls: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// The place of one call. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct CallPlace {
    _call: OwnedSemaphorePermit,
    _batches: Option<OwnedSemaphorePermit>,
}

/// There is no place for a call of this kind; so many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPlace {
    pub(crate) kind: Kind,
    pub(crate) max: usize,
}

/// The places that a call takes up until its reply has been taken. They travel with the answer; and with the request, if
/// its work goes on when its caller has left.
#[derive(Clone, Debug)]
pub(crate) struct CallPlaces {
    pub(crate) _of_the_server: Arc<CallPlace>,
    pub(crate) _of_the_caller: Arc<CallPlace>,
}

impl Kind {
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            EXECUTE_BATCH => Self::Batch,
            EXECUTE_STREAM => Self::Stream,
            _ => Self::Single,
        }
    }
}

impl Places {
    pub(crate) fn new(bounds: CallBounds) -> Self {
        let places = |max| Arc::new(Semaphore::new(max));
        Self {
            bounds,
            calls: places(bounds.calls_in_flight_max),
            batches: places(bounds.concurrent_batches_max),
            streams: places(bounds.batch_streams_max),
        }
    }

    /// A place for a call, if there is one.
    pub(crate) fn take(&self, kind: Kind) -> Result<CallPlace, NoPlace> {
        let CallBounds { calls_in_flight_max, concurrent_batches_max, batch_streams_max } = self.bounds;
        let take = |places: &Arc<Semaphore>, kind, max| {
            Arc::clone(places).try_acquire_owned().map_err(|_| NoPlace { kind, max })
        };
        Ok(CallPlace {
            _call: take(&self.calls, Kind::Single, calls_in_flight_max)?,
            _batches: match kind {
                Kind::Single => None,
                Kind::Batch => Some(take(&self.batches, kind, concurrent_batches_max)?),
                Kind::Stream => Some(take(&self.streams, kind, batch_streams_max)?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use bank_proto::v1::bank_service_server::SERVICE_NAME;

    use super::*;
    use crate::auth::Method;

    #[test]
    fn batches_are_told_by_their_paths() {
        for method in Method::ALL {
            let kind = match method {
                Method::ExecuteBatch => Kind::Batch,
                Method::ExecuteStream => Kind::Stream,
                _ => Kind::Single,
            };
            assert_eq!(Kind::of_path(&format!("/{SERVICE_NAME}/{}", method.name())), kind, "{method:?}");
        }
    }

    #[test]
    fn batches_take_places_of_their_own_besides() {
        let room = Places::new(CallBounds {
            calls_in_flight_max: 2,
            concurrent_batches_max: 1,
            batch_streams_max: 1,
        });
        let batch = room.take(Kind::Batch).unwrap();
        assert_eq!(room.take(Kind::Batch).unwrap_err(), NoPlace { kind: Kind::Batch, max: 1 });
        let stream = room.take(Kind::Stream).unwrap();
        assert_eq!(room.take(Kind::Single).unwrap_err(), NoPlace { kind: Kind::Single, max: 2 });
        drop((batch, stream));
        drop(room.take(Kind::Batch).unwrap());
    }
}
