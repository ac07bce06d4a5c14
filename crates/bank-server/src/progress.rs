//! Progress reports of a long-running task.

use std::time::Duration;

use tokio::{
    sync::mpsc::{Sender, error::SendError},
    time::interval,
};

/// The pause between two reports.
const INTERVAL: Duration = Duration::from_millis(250);

/// Sends `progress()` every 250 ms. Returns once nobody receives it any more.
pub(crate) async fn report<News>(news: &Sender<News>, progress: impl Fn() -> News) -> SendError<News> {
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = news.send(progress()).await {
            return error;
        }
    }
}
