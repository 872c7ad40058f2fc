//! Reads lines on a thread, because a read of a pipe or a terminal may block forever.

use crate::follow::FollowedFile;
use crate::lines::{Line, Splitter};
use crate::output::Stdin;
use anyhow::Context;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Limit of chunks read ahead.
pub(super) const READ_AHEAD: usize = 4;

/// Lines of one read.
pub(super) struct LineChunk {
    pub(super) lines: Vec<Line>,
    /// The followed file that they belong to.
    pub(super) file: Option<Arc<FollowedFile>>,
    /// The first byte read of the file, in the first chunk of a file.
    pub(super) begun: Option<u64>,
}

/// The receiver of chunks, which closes at the end of the input.
pub(super) type LineSource = mpsc::Receiver<anyhow::Result<LineChunk>>;

/// Reads a file, or standard input, to its end.
pub(super) fn open(file: Option<&Path>, line_bytes_max: usize) -> anyhow::Result<LineSource> {
    let input: Box<dyn Read + Send> = match file.filter(|path| path.as_os_str() != "-") {
        Some(path) => Box::new(File::open(path).with_context(|| cannot_read(path))?),
        None => Box::new(Stdin),
    };
    let failed = cannot_read(file.unwrap_or(Path::new("-")));
    let (sender, source) = mpsc::channel(READ_AHEAD);
    std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
        if let Err(error) = read_to_end(input, line_bytes_max, &sender) {
            let _ = sender.blocking_send(Err(error).context(failed)); // Without a receiver the error concerns no one.
        }
    })?;
    Ok(source)
}

/// Describes a failed read of this path.
fn cannot_read(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "cannot read standard input".to_owned(),
        _ => format!("cannot read {}", path.display()),
    }
}

/// Reads to the end, or until the receiver is dropped.
fn read_to_end(
    mut input: impl Read,
    line_bytes_max: usize,
    sender: &mpsc::Sender<anyhow::Result<LineChunk>>,
) -> io::Result<()> {
    let mut splitter = Splitter::new(0, line_bytes_max);
    loop {
        let read = splitter.read_from(&mut input);
        let ended = matches!(read, Ok(0) | Err(_));
        let mut lines: Vec<Line> = std::iter::from_fn(|| splitter.next_line()).collect();
        if matches!(read, Ok(0)) {
            lines.extend(splitter.finish());
        }
        if !lines.is_empty() && sender.blocking_send(Ok(LineChunk { lines, file: None, begun: None })).is_err() {
            return Ok(());
        }
        if ended {
            return read.map(drop);
        }
    }
}
