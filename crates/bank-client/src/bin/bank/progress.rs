//! Progress bars. They are drawn only on a terminal.

use std::time::Duration;

use bank_client::{Error, TryStreamExt as _};
use futures::Stream;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// How often a bar without news is redrawn.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.enable_steady_tick(TICK);
    set_style(&bar, template);
    bar
}

/// Sets the template of a bar; a wrong one leaves it as it is.
pub(crate) fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Reads the messages of a call up to its summary, which `take` returns.
pub(crate) async fn follow<N, S>(
    bar: &ProgressBar,
    mut news: impl Stream<Item = Result<N, Failure>> + Unpin,
    mut take: impl FnMut(N) -> Result<Option<S>, Failure>,
) -> Result<S, Failure> {
    let summary = async {
        while let Some(news) = news.try_next().await? {
            if let Some(summary) = take(news)? {
                return Ok(summary);
            }
        }
        Err(Error::InvalidReply("there is no summary".to_owned()).into())
    };
    let summary = summary.await;
    bar.finish_and_clear();
    summary
}
