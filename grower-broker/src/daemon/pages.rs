//! Memory in small pages only.
//!
//! A huge page counts with 2 MiB as soon as one byte of it is used, and as long as one is: a daemon that holds 20 MiB
//! looks like one that holds 80, and larger after each burst. The allocator is built not to ask for huge pages; this
//! keeps the system from giving them unasked.
#![expect(unsafe_code, reason = "a system call without a safe name")]

/// Holds for the whole process, from now on. Where the system does not know of it, nothing changes.
pub(super) fn keep_small() {
    // SAFETY: the call takes no pointers and changes nothing but how later page faults are served.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
