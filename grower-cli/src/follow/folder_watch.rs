//! Detects that a rotation may have appeared.

use super::fingerprint::FileIdentity;
use super::surroundings::rotation_files;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Granularity of a folder's modification time: changes this far apart have different times.
const GRANULARITY: Duration = Duration::from_secs(2);

/// The rotations next to one followed file at the last check.
#[derive(Debug, Default)]
pub(super) struct FolderWatch(Option<FolderState>);

#[derive(Debug)]
struct FolderState {
    modified: (i64, i64),
    since: Instant,
    rotations: Vec<(PathBuf, FileIdentity, u64)>,
}

impl FolderWatch {
    /// Checks whether a rotation appeared or changed since the last call; true the first time. `target` is where the
    /// file was when it was begun.
    pub(super) fn check_changed(&mut self, path: &Path, target: &Path, now: Instant) -> bool {
        let Some(folder) = target.parent().and_then(|folder| fs::metadata(folder).ok()) else {
            return self.0.take().is_some();
        };
        // Read before the names: a later change gives the folder another time, or this time is too recent to trust.
        let modified = (folder.mtime(), folder.mtime_nsec());
        let before = self.0.as_ref().filter(|seen| seen.modified == modified);
        if before.is_some_and(|seen| GRANULARITY <= now.duration_since(seen.since)) {
            return false;
        }
        let since = before.map_or(now, |seen| seen.since);
        let rotations = rotation_files(path, target);
        let changed = self.0.as_ref().is_none_or(|seen| seen.rotations != rotations);
        self.0 = Some(FolderState { modified, since, rotations });
        changed
    }

    /// Lets the next call return true.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_noticed_even_if_the_modification_time_of_the_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (log, now) = (folder.path().join("app.log"), Instant::now());
        let set_time = || fs::File::open(folder.path()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::write(&log, "one\n").unwrap();
        set_time();
        let mut watch = FolderWatch::default();
        assert!(watch.check_changed(&log, &log, now));
        assert!(!watch.check_changed(&log, &log, now));
        fs::write(folder.path().join("app.log.1"), "one\n").unwrap();
        set_time();
        assert!(watch.check_changed(&log, &log, now + GRANULARITY / 2));
        assert!(!watch.check_changed(&log, &log, now + GRANULARITY));
        fs::write(folder.path().join("app.log.2"), "").unwrap();
        assert!(watch.check_changed(&log, &log, now + 2 * GRANULARITY));
        fs::write(folder.path().join("other.log"), "").unwrap();
        assert!(!watch.check_changed(&log, &log, now + 2 * GRANULARITY), "no rotation");
        watch.reset();
        assert!(watch.check_changed(&log, &log, now + 2 * GRANULARITY));
    }
}
