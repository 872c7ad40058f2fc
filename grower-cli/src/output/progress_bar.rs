//! Progress bars: drawn on a terminal, invisible in a pipe.

use indicatif::{ProgressBar, ProgressStyle};

/// Counts bytes of work without a known end. `done` says what was done to them: `read`, `checked`.
pub(crate) fn bytes_bar(done: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{spinner}} {{bytes}} {done}, {{bytes_per_sec}}"));
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// Counts up to `length`.
pub(crate) fn count_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
