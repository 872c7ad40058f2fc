//! Log lines on stderr.

use anyhow::{Context, Result};
use grower_broker::config::settings::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// The stronger one first.
const FILTER_VARIABLES: [&str; 2] = ["GROWER_LOG", "RUST_LOG"];

/// Starts logging for the rest of the process.
pub(super) fn start(format: LogFormat) -> Result<()> {
    // A line that cannot be written is lost; telling so on stderr would panic for the very same reason.
    let lines = tracing_subscriber::fmt().with_env_filter(filter()?).with_writer(stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter() -> Result<EnvFilter> {
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| (name, text));
    match FILTER_VARIABLES.into_iter().find_map(set) {
        None => Ok(EnvFilter::new("info")),
        Some((name, text)) => {
            EnvFilter::builder().parse(&text).with_context(|| format!("{name}={text:?} is no log filter"))
        }
    }
}
