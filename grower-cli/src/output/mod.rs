//! Everything that reaches the standard streams: tables, JSON, records, messages, questions.

mod closed;
mod confirm;
mod escape;
mod key_warning;
mod progress_bar;
mod record;
mod span;
mod streams;
mod table;
mod template;
mod unescape;

pub(crate) use closed::check_stdout;
pub(crate) use confirm::confirmed;
pub(crate) use escape::{escaped, quoted};
pub(crate) use key_warning::key_warning;
pub(crate) use progress_bar::{bytes_bar, count_bar};
pub(crate) use record::{RecordJson, content};
pub(crate) use span::{millis_for_people, span_for_people};
pub(crate) use streams::{Stderr, Stdin, has_colour, reader_left, stderr_line};
pub(crate) use table::{TextTable, bytes_for_people, counted, in_groups, in_short, noun};
pub(crate) use template::{Template, rfc3339};
pub(crate) use unescape::{EscapeError, unescaped};

use serde::Serialize;
use std::io::{self, BufWriter, Write};
use streams::Stdout;

/// Buffered standard output, which tells a reader that is gone ([`ReaderGone`]) from every other failure.
pub(crate) struct StdoutWriter(BufWriter<CheckedStdout>);

struct CheckedStdout(Stdout);

/// Standard output has lost its reader, as in `grower-cli consume .. | head`. This is not a failure.
#[derive(Debug, thiserror::Error)]
#[error("the reader of standard output is gone")]
pub(crate) struct ReaderGone;

impl StdoutWriter {
    /// Opens standard output.
    pub(crate) fn open() -> Self {
        Self(BufWriter::with_capacity(256 << 10, CheckedStdout(Stdout)))
    }

    /// Prints a value as one line of JSON and flushes it.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        json_line(self, value)?;
        self.flush()
    }
}

/// Prints a value as one line of JSON.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

impl Write for StdoutWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for CheckedStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(explained)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(explained)
    }
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
        kind => io::Error::new(kind, format!("cannot write to standard output: {error}")),
    }
}

/// Formats an error with its causes on one line. A cause that the text quotes already is left out.
pub(crate) fn message_of(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    escaped(&text).into_owned()
}

/// Whether a command failed only because its output has lost its reader.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let is_ours = |io: &io::Error| io.get_ref().is_some_and(|inner| inner.is::<ReaderGone>());
    error.chain().any(|cause| cause.is::<ReaderGone>() || cause.downcast_ref::<io::Error>().is_some_and(is_ours))
}
