//! Log lines on stderr, at a level that can change while the process runs.
//!
//! A thread of its own writes them, so that a stopped terminal or a collector that hangs delays no other thread. As
//! many as fit wait for it; further ones are lost, and their number is logged as soon as stderr is read again.

use anyhow::{Context, Result};
use grower_broker::config::settings::LogFormat;
use std::io::{self, IsTerminal, Stderr, Write, stderr};
use std::sync::{Arc, OnceLock};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait to be written.
const LINES_MAX: usize = 4096;

/// Changes what is logged.
pub(super) struct Level(Box<dyn Fn(EnvFilter) + Send + Sync>);

/// Writes what waits when it is dropped, within a second.
pub(super) type Writing = WorkerGuard;

/// Starts logging for the rest of the process.
pub(super) fn start(format: LogFormat, level: &str) -> Result<(Level, Writing)> {
    let filter = EnvFilter::builder().parse(level).with_context(|| format!("{level:?} is no log filter"))?;
    let (writer, writing) = writer();
    // A line that cannot be written is lost; telling so on stderr would panic for the very same reason.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let level = match format {
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
    };
    Ok((level, writing))
}

fn writer() -> (NonBlocking, Writing) {
    let lost = Arc::new(OnceLock::new());
    let lines = Lines { stderr: stderr(), lost: lost.clone(), reported: 0 };
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).thread_name("grower-log");
    let (writer, writing) = builder.finish(lines);
    let _ = lost.set(writer.error_counter()); // Set only here.
    (writer, writing)
}

impl Level {
    /// Applies a filter from now on. Other text is ignored: settings are checked before.
    pub(super) fn set(&self, level: &str) {
        if let Ok(filter) = EnvFilter::builder().parse(level) {
            (self.0)(filter);
        }
    }
}

/// Stderr, with a note about missing lines.
struct Lines {
    stderr: Stderr,
    /// How many were lost so far.
    lost: Arc<OnceLock<ErrorCounter>>,
    reported: usize,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if self.reported < lost {
            let missing = lost - self.reported;
            self.reported = lost;
            writeln!(self.stderr, "grower-broker: {missing} log lines are missing here: they were not read in time")?;
        }
        self.stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}
