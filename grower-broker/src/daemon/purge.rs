//! Gives memory that is free back to the system, also when nothing happens.
//!
//! The allocator does that while somebody allocates or frees. After a burst nobody may, and the daemon would look
//! as large as it was at its largest.
#![expect(unsafe_code, reason = "the allocator's crate has no safe name for this function")]

use std::time::Duration;

const EACH: Duration = Duration::from_secs(1);

unsafe extern "C" {
    /// Part of the allocator that this binary is linked with.
    fn mi_collect(force: bool);
}

/// Looks each second, for as long as the process lives.
#[expect(clippy::disallowed_methods, reason = "the broker does without it, and it outlives the broker")]
pub(super) fn start() {
    let looking = || {
        loop {
            std::thread::sleep(EACH);
            // SAFETY: the function may be called by any thread at any time. It takes no pointers, keeps none, and returns
            // only memory that nobody uses.
            unsafe { mi_collect(false) }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("grower-purge".to_owned()).spawn(looking) {
        tracing::warn!(%error, "cannot start the thread that returns free memory to the system");
    }
}
