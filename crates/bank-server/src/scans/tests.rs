use std::time::Duration;

use bank_store::MemoryStore;
use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::*;
use crate::admission::one_scan;

/// Callers who reset their calls could have as many reads under way as the store allows in all.
#[tokio::test]
async fn a_read_keeps_its_place_until_it_has_ended_even_if_its_caller_leaves() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::from_hours(1)));
    let caller = one_scan();
    let scans = Scans::new(store, caller.clone());
    let (end, ended) = oneshot::channel::<()>();
    {
        let read = scans.scan(async move {
            let _ = ended.await;
            Ok(vec![0])
        });
        tokio::pin!(read);
        assert!(read.as_mut().now_or_never().is_none());
    }
    tokio::task::yield_now().await;
    assert!(caller.take(Resource::Scans, 1).now_or_never().is_none(), "the read goes on");
    end.send(()).unwrap();
    drop(caller.take(Resource::Scans, 1).await);
}
