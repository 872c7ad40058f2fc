//! The three standard streams, which this process shares with others.
//!
//! Another program may have made them non-blocking: a read or write that would block waits until the stream is ready.
//! The other end may be gone. Standard output reports that as an error ([`super::is_reader_gone`]). A write to standard
//! error never fails and never panics, because its failure could not be reported.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fmt::Display;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Standard input without a buffer of its own.
pub(crate) struct Stdin;

/// Standard output without a buffer of its own.
pub(crate) struct Stdout;

/// Standard error. Text that cannot be written is dropped.
pub(crate) struct Stderr;

/// How long a message waits for a reader of standard error that does not read. A terminal is waited for without limit.
const STDERR_PATIENCE: Duration = Duration::from_secs(5);
/// A pipe that reports room takes this many bytes without blocking.
const PIPE_ATOMIC_BYTES: usize = 4096;
/// How often to check whether standard output still has a reader.
const READER_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Whether to print colours: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn has_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes a line to standard error.
pub(crate) fn stderr_line(message: impl Display) {
    Stderr.put(format!("{message}\n").as_bytes());
}

/// Returns once the pipe or terminal behind standard output has lost its reader; never for a file.
pub(crate) async fn reader_left() {
    while !ready(io::stdout().as_fd(), PollFlags::empty(), Some(Duration::ZERO))
        .intersects(PollFlags::ERR | PollFlags::HUP)
    {
        tokio::time::sleep(READER_CHECK_INTERVAL).await;
    }
}

impl Read for Stdin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let stdin = io::stdin();
        retry(stdin.as_fd(), PollFlags::IN, || rustix::io::read(&stdin, &mut *bytes))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = io::stdout();
        retry(stdout.as_fd(), PollFlags::OUT, || rustix::io::write(&stdout, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stderr {
    fn put(&self, mut bytes: &[u8]) {
        /// Whether a message timed out: later messages do not wait until the reader reads again.
        static STALLED: AtomicBool = AtomicBool::new(false);
        let stderr = io::stderr();
        while !bytes.is_empty() {
            let patience = match (stderr.is_terminal(), STALLED.load(Ordering::Relaxed)) {
                (true, _) => None,
                (false, true) => Some(Duration::ZERO),
                (false, false) => Some(STDERR_PATIENCE),
            };
            let is_ready = !ready(stderr.as_fd(), PollFlags::OUT, patience).is_empty();
            STALLED.store(!is_ready, Ordering::Relaxed);
            if !is_ready {
                return;
            }
            match rustix::io::write(&stderr, &bytes[..bytes.len().min(PIPE_ATOMIC_BYTES)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats a call that was interrupted or found its stream not ready.
fn retry(
    stream: BorrowedFd<'_>,
    wanted: PollFlags,
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::AGAIN) => drop(ready(stream, wanted, None)),
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Waits for a stream; empty after a timeout. An error of `poll` counts as ready: the next call reports it.
fn ready(stream: BorrowedFd<'_>, wanted: PollFlags, patience: Option<Duration>) -> PollFlags {
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let mut polled = [PollFd::from_borrowed_fd(stream, wanted)];
    loop {
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => return polled[0].revents(),
            Err(Errno::INTR) => {}
            Err(_) => return wanted,
        }
    }
}
