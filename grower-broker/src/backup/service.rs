//! Requested backups of a running broker: one at a time, each below the configured directory.
//!
//! A client must not make a broker write to any path. The operator configures the root directory, which only a restart
//! changes; the client names a path below it.

use super::run::BackupRun;
use super::state::LatestBackup;
use super::{BackedUp, BackupError, series};
use crate::background;
use crate::health::Health;
use crate::metadata::NodeIdentity;
use crate::placement;
use grower_protocol::ids::Timestamp;
use grower_protocol::message::{BackupDescription, ErrorCode, Failure};
use grower_storage::disk::{Disk, FileDisk};
use parking_lot::Mutex;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio_util::sync::CancellationToken;

/// The time of the newest backup if there is none, as metrics show it.
const NEVER: Timestamp = Timestamp::from_millis(0);

/// The thread that searches for earlier backups.
pub(crate) const SEARCH_THREAD: &str = "grower-backups";

/// The most threads of abandoned backups that may still wait for their file systems.
const ABANDONED_MAX: usize = 4;

/// Requested backups of this broker.
pub(crate) struct Backups {
    pub(crate) data_dir: PathBuf,
    /// The directory for backups; without one every backup is refused.
    root: Option<PathBuf>,
    /// The broker's disk, if it is not a real one.
    disk: Option<Arc<dyn Disk>>,
    current: Mutex<CurrentBackup>,
    /// One reference for each thread that works on a backup's file system.
    pub(super) threads: Arc<()>,
    /// The time when the newest finished backup began, of this process or an earlier one; none while unknown.
    newest: Mutex<Option<Timestamp>>,
}

#[derive(Default)]
struct CurrentBackup {
    latest: LatestBackup,
    /// Stops it.
    stop: CancellationToken,
}

impl Backups {
    pub(crate) fn new(data_dir: PathBuf, root: Option<PathBuf>, disk: Option<Arc<dyn Disk>>) -> Self {
        let (current, newest) = (Mutex::default(), Mutex::default());
        Self { data_dir, root, disk, current, threads: Arc::default(), newest }
    }

    /// Searches for the newest existing backup in the background.
    ///
    /// Nothing waits for the thread, and it holds nothing of the broker: a network file system may never answer.
    pub(crate) fn search_earlier(
        self: &Arc<Self>,
        identity: NodeIdentity,
        health: &Health,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let Some(root) = self.root.clone() else { return Ok(()) };
        let backups = self.clone();
        let finding = move || {
            let disk = backups.disk.clone().unwrap_or_else(|| Arc::new(FileDisk::read_only(&root)));
            let found = series::newest_below(&*disk, &root, &identity, &|| !stop.is_cancelled());
            if !stop.is_cancelled() {
                // A backup made meanwhile is newer, whatever its clock showed.
                backups.newest.lock().get_or_insert(found.unwrap_or(NEVER));
            }
        };
        background::thread(SEARCH_THREAD, health, finding).map(drop)
    }

    /// The time when the newest backup began, [`NEVER`] if there is none. None without a directory for backups, and
    /// while unknown.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        *self.newest.lock()
    }

    /// Begins a backup below the root, unless another is being made. Cancelling `stop` stops it as well.
    pub(crate) fn begin(
        self: &Arc<Self>,
        dir: &str,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<(Arc<BackupRun>, BackupDescription), Failure> {
        let path = directory(self.root.as_deref(), dir)?;
        if ABANDONED_MAX < Arc::strong_count(&self.threads) {
            let why = "earlier backups still wait for a file system that does not answer: repair that first";
            return Err(Failure::new(ErrorCode::BackupFailed, why));
        }
        let mut current = self.current.lock();
        let description = current.latest.begin(dir, now)?;
        current.stop = stop.child_token();
        let (number, stop) = (description.number, current.stop.clone());
        let run = BackupRun { backups: self.clone(), dir: path, number, stop, steps: AtomicU64::new(0) };
        Ok((Arc::new(run), description))
    }

    /// Notes the progress of a backup, unless it was abandoned.
    pub(super) fn note(&self, number: u64, read_bytes: u64) {
        self.current.lock().latest.progress(number, read_bytes);
    }

    /// Notes the result of the current backup.
    pub(super) fn end(&self, number: u64, made: Result<BackedUp, BackupError>) {
        let is_made = made.is_ok();
        let ended = self.current.lock().latest.end(number, made);
        if is_made {
            *self.newest.lock() = Some(ended.began);
        }
    }

    pub(crate) fn cancel(&self) {
        let mut current = self.current.lock();
        current.latest.cancel();
        current.stop.cancel();
    }

    pub(crate) fn describe(&self) -> Option<BackupDescription> {
        self.current.lock().latest.describe()
    }

    /// A disk for files below `dir`, for one backup: its failed sync must not stop the broker.
    pub(crate) fn disk(&self, dir: &Path) -> Arc<dyn Disk> {
        self.disk.clone().unwrap_or_else(|| Arc::new(FileDisk::new(dir)))
    }
}

/// The directory of a request: below the root, and not a backup itself.
fn directory(root: Option<&Path>, dir: &str) -> Result<PathBuf, Failure> {
    let Some(root) = root else {
        return Err(Failure::new(
            ErrorCode::NotAllowed,
            "backup.dir is not set, so this broker makes no backups while it runs: set the directory for backups in the config file (section backup, key dir) or as GROWER__BACKUP__DIR, and restart the broker",
        ));
    };
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => !placement::is_backup_name(&name.to_string_lossy()),
        _ => false,
    };
    if dir.is_empty() || dir.contains('\0') || !Path::new(dir).components().all(plain) {
        let root = root.display();
        return Err(Failure::new(
            ErrorCode::NotAllowed,
            format_args!(
                "{dir:?} is not a directory for backups: name one below the broker's backup.dir ({root}) by a relative path such as nightly, without `..`, and not a backup itself"
            ),
        ));
    }
    Ok(root.join(dir))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::backup) fn backups() -> Arc<Backups> {
        below(Some("/backups"))
    }

    fn below(root: Option<&str>) -> Arc<Backups> {
        Arc::new(Backups::new("/data".into(), root.map(Into::into), None))
    }

    pub(in crate::backup) fn begin(backups: &Arc<Backups>, dir: &str) -> Result<Arc<BackupRun>, String> {
        let begun = backups.begin(dir, Timestamp::from_millis(0), &CancellationToken::new());
        begun.map(|(run, _)| run).map_err(|failure| failure.to_string())
    }

    #[test]
    fn backups_are_written_only_below_the_configured_directory() {
        insta::assert_snapshot!(begin(&below(None), "nightly").map(drop).unwrap_err(), @"backup.dir is not set, so this broker makes no backups while it runs: set the directory for backups in the config file (section backup, key dir) or as GROWER__BACKUP__DIR, and restart the broker");
        insta::assert_snapshot!(begin(&backups(), "../etc").map(drop).unwrap_err(), @r#""../etc" is not a directory for backups: name one below the broker's backup.dir (/backups) by a relative path such as nightly, without `..`, and not a backup itself"#);
        let refused = [
            "",
            ".",
            "..",
            "/etc",
            "a/..",
            "a/../../b",
            "./a",
            "//",
            "a\0b",
            "backup-000001",
            "a/backup-000001",
            "backup-7.unfinished",
        ];
        for dir in refused {
            assert!(begin(&backups(), dir).is_err(), "{dir}");
        }
        for dir in ["nightly", "a/b", "a/b/", "..a", "backup-", "backups"] {
            assert!(begin(&backups(), dir).unwrap().dir().starts_with("/backups/"), "{dir}");
        }
    }

    #[test]
    fn one_backup_is_made_at_a_time_and_the_next_has_the_next_number() {
        let backups = backups();
        assert_eq!(backups.describe(), None);
        let first = begin(&backups, "a").unwrap();
        insta::assert_snapshot!(begin(&backups, "b").map(drop).unwrap_err(), @r#"a backup in "a" is being made: wait for it, or cancel it"#);
        assert!(first.keeps_going(7));
        backups.cancel();
        assert!(!first.keeps_going(8));
        first.end(Err(BackupError::Stopped));
        let described = backups.describe().unwrap();
        assert_eq!((described.number, described.read_bytes), (1, 8));
        insta::assert_snapshot!(format!("{:?}", described.state), @r#"Failed(Failure { code: BackupFailed, detail: "the backup was cancelled", context: None })"#);
        let second = begin(&backups, "b").unwrap();
        assert!(second.keeps_going(0), "an earlier cancel does not concern it");
        assert!(!first.keeps_going(9), "the first stays cancelled");
        let described = backups.describe().unwrap();
        assert_eq!((described.number, described.read_bytes), (2, 0));
    }

    #[test]
    fn the_newest_backup_is_the_last_one_even_after_a_clock_that_ran_ahead() {
        let backups = backups();
        for began in [9_000, 2_000].map(Timestamp::from_millis) {
            let (run, _) = backups.begin("nightly", began, &CancellationToken::new()).unwrap();
            let path = PathBuf::from("/backups/nightly/backup-000001");
            run.end(Ok(BackedUp { path, files: 1, bytes: 1, new_bytes: 1, copied_bytes: 1 }));
            assert_eq!(backups.newest(), Some(began));
        }
    }
}
