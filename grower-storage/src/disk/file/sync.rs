//! Syncing: one file at a time, many at once, or a whole mount, and never again after a failure.

use std::fs;
use std::io;
use std::iter;
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::disk::{DiskError, SharedFile};

/// Threads that sync together; the kernel merges what they ask for. More do not make it faster.
const THREADS_MAX: usize = 16;

/// From this many files on it is cheaper to sync the whole mount.
const WHOLE_MOUNT_FILES_MIN: usize = 32;

/// All syncs of one disk.
#[derive(Default)]
pub(super) struct Syncs {
    /// The first failure. Once set, nothing can be made durable here any more: the kernel reports a lost page once
    /// and then calls it clean, so a later success would prove nothing.
    failed: OnceLock<String>,
    /// Present if many files may be synced by syncing their mount: one at a time, so that each sees its own errors.
    whole_mount: Option<Mutex<()>>,
}

impl Syncs {
    pub(super) fn of_a_whole_mount() -> Self {
        let whole_mount = syncfs_reports_errors().then(Mutex::default);
        Self { whole_mount, ..Self::default() }
    }

    /// Runs one sync, unless an earlier one failed.
    pub(super) fn run(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if let Some(first) = self.failed.get() {
            let message = format!("an earlier sync failed ({first}); restart to recover what the disk holds");
            return Err(io::Error::other(message));
        }
        sync().inspect_err(|error| drop(self.failed.set(error.to_string())))
    }

    /// Syncs all of `files`, or fails.
    pub(super) fn run_many(&self, files: &[SharedFile]) -> Result<(), DiskError> {
        match (files, &self.whole_mount) {
            ([], _) => Ok(()),
            ([file], _) => file.sync(),
            ([first, ..], Some(turn)) if files.len() >= WHOLE_MOUNT_FILES_MIN => {
                let _turn = turn.lock();
                self.sync_mount_of(first)
            }
            _ => fan_out(files),
        }
    }

    fn sync_mount_of(&self, file: &SharedFile) -> Result<(), DiskError> {
        let Some(fd) = file.fd() else {
            return file.sync();
        };
        let synced = self.run(|| Ok(rustix::fs::syncfs(fd)?));
        synced.map_err(DiskError::of_sync("sync the file system of", file.path()))
    }
}

/// Syncs each file, on this thread and as many others as help. Files are still tried after one failed.
#[expect(clippy::disallowed_methods, reason = "the threads end with this call")]
fn fan_out(files: &[SharedFile]) -> Result<(), DiskError> {
    let next = AtomicUsize::new(0);
    let take = || files.get(next.fetch_add(1, Ordering::Relaxed));
    let work = || iter::from_fn(take).map(|file| file.sync()).fold(Ok(()), Result::and);
    thread::scope(|scope| {
        // A thread that cannot be had is no error: the others do its work.
        let spawn = |_| thread::Builder::new().name("sync".to_owned()).spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..files.len().min(THREADS_MAX)).filter_map(spawn).collect();
        let mine = work();
        let join = |helper: thread::ScopedJoinHandle<'_, _>| {
            helper.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        };
        helpers.into_iter().map(join).fold(mine, Result::and)
    })
}

/// Since Linux 5.8 `syncfs` says when data was lost; before, it said only that it had tried.
fn syncfs_reports_errors() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    is_at_least_5_8(&release)
}

fn is_at_least_5_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_hide_errors_are_told_from_those_that_report_them() {
        for (release, reports) in [
            ("6.18.0-generic\n", true),
            ("5.8.0", true),
            ("5.10.1-x", true),
            ("5.4.200", false),
            ("4.18.0-553.el8", false),
            ("", false),
        ] {
            assert_eq!(is_at_least_5_8(release), reports, "{release}");
        }
    }

    #[test]
    fn after_one_failed_sync_none_succeeds() {
        let syncs = Syncs::default();
        assert!(syncs.run(|| Ok(())).is_ok());
        assert!(syncs.run(|| Err(io::ErrorKind::StorageFull.into())).is_err());
        let again = syncs.run(|| panic!("never tried again")).unwrap_err();
        assert_eq!(
            again.to_string(),
            "an earlier sync failed (no storage space); restart to recover what the disk holds"
        );
    }
}
