//! What no call brings along: how many accounts there are, and how often the store was connected anew.

use bank_store::Store;
use tokio::time::sleep;

use super::Sources;
use crate::metrics::Metrics;

/// Keeps the metrics of the store as they should be. It does not end.
pub(super) async fn keep(sources: Sources) {
    tokio::join!(count_accounts(&sources), count_reconnects(&*sources.store, &sources.metrics));
}

async fn count_accounts(Sources { store, metrics, accounts_interval, .. }: &Sources) {
    loop {
        // While the store is away the last count stands: there is another metric for that.
        if let Ok(Some(count)) = store.account_count().await {
            metrics.accounts_are(count);
        }
        sleep(*accounts_interval).await;
    }
}

/// An epoch of the store ends when a connection to it was made anew.
async fn count_reconnects(store: &dyn Store, metrics: &Metrics) {
    let mut counted = 0;
    loop {
        let epoch = store.epoch_after(counted).await;
        metrics.store_reconnected(epoch - counted);
        counted = epoch;
    }
}
