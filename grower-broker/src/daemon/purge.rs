//! Returns free memory to the system, also while the broker is idle.
//!
//! The allocator does that only while memory is allocated or freed. After a burst there may be none of that, and the
//! daemon would look as large as at its peak.
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
            // SAFETY: the function may be called by any thread at any time. It takes no pointers, keeps none, and
            // returns only unused memory.
            unsafe { mi_collect(false) }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("grower-purge".to_owned()).spawn(looking) {
        tracing::warn!(%error, "cannot start the thread that returns free memory to the system");
    }
}
