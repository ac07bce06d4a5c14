//! Metrics of the store that no call updates: the number of accounts and of reconnections.

use std::{sync::Arc, time::Duration};

use bank_store::Store;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// The pause between two counts of the accounts, about as often as Prometheus asks. On Redis a count costs some
/// 200 microseconds for 1,024 partitions.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(10);

/// Updates the metrics of the store. It does not end.
pub(super) async fn update(store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    tokio::join!(count_accounts(&*store, &metrics), count_reconnects(&*store, &metrics));
}

async fn count_accounts(store: &dyn Store, metrics: &Metrics) {
    loop {
        // While the store is unavailable the last count stands: `bank_store_up` shows that.
        if let Ok(Some(count)) = store.account_count().await {
            metrics.accounts_are(count);
        }
        sleep(ACCOUNTS_INTERVAL).await;
    }
}

/// Each reconnection begins a new epoch of the store.
async fn count_reconnects(store: &dyn Store, metrics: &Metrics) {
    let mut counted = 0;
    loop {
        let epoch = store.epoch_after(counted).await;
        metrics.store_reconnects.inc_by(epoch - counted);
        counted = epoch;
    }
}
