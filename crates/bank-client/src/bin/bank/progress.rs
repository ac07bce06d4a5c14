//! Progress bars. They are drawn only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

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
