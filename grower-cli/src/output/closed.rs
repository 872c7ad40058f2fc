//! Whether standard output was closed when the process began, as in `grower-cli topic list >&-`.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of a closed stream. From then on a closed output looks
//! like a discarded one, and text is lost without an error. A function that runs earlier therefore checks the stream.
#![expect(unsafe_code, reason = "a function that runs before Rust's runtime has no safe form")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the loader calls each entry of this section once, as a function of the C convention. Arguments that it
// passes are ignored. The function neither allocates nor needs the runtime: it makes one system call.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_BEFORE_MAIN: extern "C" fn() = look;

extern "C" fn look() {
    WAS_CLOSED.store(rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err(), Ordering::Relaxed);
}

/// Fails if standard output was closed when the process began.
pub(crate) fn check_stdout() -> io::Result<()> {
    match WAS_CLOSED.load(Ordering::Relaxed) {
        true => Err(io::Error::other("standard output is closed; to print nothing, redirect it to /dev/null")),
        false => Ok(()),
    }
}
