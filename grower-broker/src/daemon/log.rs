//! Log lines on stderr, at a level that can change while the process runs.

use anyhow::{Context, Result};
use grower_broker::config::settings::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Changes what is logged.
pub(super) struct Level(Box<dyn Fn(EnvFilter) + Send + Sync>);

/// Starts logging for the rest of the process.
pub(super) fn start(format: LogFormat, level: &str) -> Result<Level> {
    let filter = EnvFilter::builder().parse(level).with_context(|| format!("{level:?} is no log filter"))?;
    // A line that cannot be written is lost; telling so on stderr would panic for the very same reason.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    Ok(match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(stderr().is_terminal()).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            Level(Box::new(move |filter| drop(handle.reload(filter))))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            Level(Box::new(move |filter| drop(handle.reload(filter))))
        }
    })
}

impl Level {
    /// From now on, if it is a filter: settings are checked before they come here.
    pub(super) fn set(&self, level: &str) {
        if let Ok(filter) = EnvFilter::builder().parse(level) {
            (self.0)(filter);
        }
    }
}
