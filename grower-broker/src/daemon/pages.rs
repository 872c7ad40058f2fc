//! Memory in small pages only.
//!
//! Of a huge page 2 MiB count as soon as one byte is used, and stay as long as one is: a daemon that holds 20 MiB then
//! looks like one that holds 80, and looks larger after each burst. The allocator is built not to ask for them; here
//! the system learns not to give them unasked.
#![expect(unsafe_code, reason = "a system call without a safe name")]

/// Holds for the whole process, from now on. Where the system does not know of it, nothing changes.
pub(super) fn keep_small() {
    // SAFETY: the call takes no pointers and changes nothing but how later page faults are served.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
