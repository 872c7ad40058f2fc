//! The reserve file `<data-dir>/reserve`: bytes for the moment when others have filled the disk.
//!
//! On a full disk a broker must write a little before it serves reads, and before a deletion can free space. The
//! reserve file shrinks by a piece at a time to make that possible. A piece is small, since others may fill the rest of
//! it and the next start needs one, too; half of the file is for starts alone. The file grows again once there is
//! space. Its inode is a reserve as well: replacing a small file takes one more inode for a moment.

use crate::background;
use crate::log_pace::LogPace;
use grower_storage::disk::{Disk, DiskError, Space};
use parking_lot::Mutex;
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Name of the file in the data directory.
const FILE: &str = "reserve";
/// The file takes this part of `disk.reserve_bytes`, within the bounds below.
const PART: u64 = 4;
const BYTES_MIN: u64 = 64 << 10;
const BYTES_MAX: u64 = 4 << 20;
/// The first piece. If it is not enough, the next makes twice as much free in all, and so on.
const PIECE: u64 = 32 << 10;
/// How often a file that was used up is refilled.
const REFILL_EACH: Duration = Duration::from_secs(10);
/// Extension of the new content of a small file before it replaces the old.
const TEMPORARY: &str = "tmp";
/// Bytes per write where the file system cannot allocate.
const CHUNK: usize = 64 << 10;

/// Returns the bytes that are kept free of records, if known.
pub(crate) type KeepFree = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The reserve file of one data directory.
pub(crate) struct ReserveFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Its inode is in use by a file that replaces another.
    lent: AtomicBool,
    /// Bytes kept for starts; zero until this start is over.
    for_starts: AtomicU64,
    /// Held while the file shrinks or grows.
    changing: Mutex<()>,
    told: LogPace,
}

thread_local! {
    static KEEP_RESERVE: Cell<bool> = const { Cell::new(false) };
}

/// While this lives, its thread does not use the reserve: that takes a directory sync, and others wait for the thread.
/// A write that fails for lack of space is repeated by a thread that may wait.
pub(crate) struct KeepReserve(PhantomData<*const ()>);

impl KeepReserve {
    pub(crate) fn begin() -> Self {
        KEEP_RESERVE.set(true);
        Self(PhantomData)
    }
}

impl Drop for KeepReserve {
    fn drop(&mut self) {
        KEEP_RESERVE.set(false);
    }
}

impl ReserveFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self {
            disk,
            path: data_dir.join(FILE),
            lent: AtomicBool::new(false),
            for_starts: AtomicU64::new(0),
            changing: Mutex::default(),
            told: LogPace::new(),
        }
    }

    /// Does `work` on `path`, which needs space. While the disk has none left, shrinks the file and repeats the work.
    pub(crate) fn with_reserve<T>(&self, path: &Path, work: impl Fn() -> Result<T, DiskError>) -> Result<T, DiskError> {
        let mut given = 0;
        loop {
            let error = match work() {
                Err(error) if error.is_full() && !KEEP_RESERVE.get() && self.is_exhausted_for(path, given) => error,
                done => return done,
            };
            given += match self.release(&error, given.max(PIECE)) {
                Ok(more) if 0 < more => more,
                _ => return Err(error),
            };
            if let Some(left_out) = self.told.admit() {
                tracing::warn!(%error, left_out, "the disk is full: the broker uses up its reserve file; free some space");
            }
        }
    }

    /// Takes the inode back after a file has replaced another, before others take it. The bytes follow with the next
    /// refill.
    pub(crate) fn reclaim_inode(&self) {
        if self.lent.swap(false, Ordering::Relaxed) {
            let _ = self.disk.create(&self.path); // The next refill tries again.
        }
    }

    /// Frees `bytes`, or the inode with all bytes, and returns how many. A file system may free them only once the
    /// change is durable.
    fn release(&self, error: &DiskError, bytes: u64) -> Result<u64, DiskError> {
        let _alone = self.changing.lock();
        let file = self.disk.open(&self.path)?;
        let length = file.len()?;
        let for_inode = self.is_for_inodes(error);
        let kept = if for_inode { 0 } else { self.for_starts.load(Ordering::Relaxed) };
        let spare = length.saturating_sub(kept); // A file that was used up may be shorter than what starts need.
        if !for_inode && bytes.min(spare) < length {
            file.set_len(length - bytes.min(spare))?;
            file.sync()?;
            return Ok(bytes.min(spare));
        }
        self.disk.remove_file(&self.path)?;
        self.lent.store(for_inode, Ordering::Relaxed);
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(length.max(1)) // Even an empty file frees an inode.
    }

    /// Whether the disk has no byte or inode left except the `given` bytes. Else the error is about a quota or a size
    /// limit.
    fn is_exhausted_for(&self, path: &Path, given: u64) -> bool {
        let takes_inode = |space: &Space| lacks_inodes(space) && self.gives_inode_back(path);
        self.disk.space().is_ok_and(|space| space.free < BYTES_MIN + given || takes_inode(&space))
    }

    /// Whether creating `path` soon frees an inode: of the content that it replaces, or of the files deleted there.
    fn gives_inode_back(&self, path: &Path) -> bool {
        let replaces = path.extension().is_some_and(|extension| extension == TEMPORARY);
        replaces && self.disk.open(&path.with_extension("")).is_ok() || path.ends_with("deleted")
    }

    /// Whether the error comes from a file system without inodes.
    pub(crate) fn is_for_inodes(&self, error: &DiskError) -> bool {
        error.is_full() && self.disk.space().is_ok_and(|space| lacks_inodes(&space))
    }

    /// Grows the file to its size, if `keep_free` bytes stay free then. The first call marks the end of a start.
    pub(crate) fn refill(&self, keep_free: u64) -> Result<(), DiskError> {
        let _alone = self.changing.lock();
        let bytes = (keep_free / PART).clamp(BYTES_MIN, BYTES_MAX);
        self.for_starts.store(bytes / 2, Ordering::Relaxed);
        let Space { free, .. } = self.disk.space()?;
        let length = self.disk.open(&self.path).and_then(|file| file.len()).unwrap_or(0);
        if bytes <= length || free < keep_free.saturating_add(bytes - length) {
            return Ok(());
        }
        self.fill(bytes).inspect_err(|_| drop(self.disk.open(&self.path).and_then(|file| file.set_len(length))))
    }

    /// Refills the file regularly until `stop`: topics are deleted, and others free space.
    pub(crate) async fn run(self: Arc<Self>, keep_free: KeepFree, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFILL_EACH) => self.clone().look(keep_free.clone()).await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Refills the file if there is space.
    pub(crate) async fn look(self: Arc<Self>, keep_free: KeepFree) {
        let refilled = background::blocking(move || keep_free().map_or(Ok(()), |bytes| self.refill(bytes)));
        if let Ok(Err(error)) = refilled.await {
            tracing::debug!(%error, "cannot refill the reserve file yet");
        }
    }

    fn fill(&self, bytes: u64) -> Result<(), DiskError> {
        let file = self.disk.open(&self.path).or_else(|_| self.disk.create(&self.path))?;
        file.allocate(bytes)?;
        let zeros = vec![0; CHUNK];
        let mut length = file.len()?;
        while length < bytes {
            file.write_all_at(&zeros, length)?;
            length += CHUNK as u64;
        }
        file.sync()?;
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }
}

fn lacks_inodes(space: &Space) -> bool {
    space.inodes.is_some_and(|inodes| inodes.free == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_storage::disk::MemDisk;

    fn reserve_on(disk: &MemDisk) -> ReserveFile {
        disk.create_dir_all(Path::new("/data")).unwrap();
        ReserveFile::new(Arc::new(disk.clone()), Path::new("/data"))
    }

    fn write(disk: &MemDisk, bytes: usize) -> Result<(), DiskError> {
        let path = Path::new("/data/other");
        let file = disk.create(path).or_else(|_| disk.open(path))?;
        file.write_all_at(&vec![1; bytes], file.len()?)
    }

    #[test]
    fn a_full_disk_takes_a_few_writes_and_the_reserve_file_grows_back() {
        let disk = MemDisk::default();
        disk.set_capacity(1 << 20);
        let reserve = reserve_on(&disk);
        reserve.refill(256 << 10).unwrap();
        let free = usize::try_from(disk.space().unwrap().free).unwrap();
        assert!(free <= (1 << 20) - (64 << 10), "{free}");
        write(&disk, free).unwrap();
        let keep_reserve = KeepReserve::begin();
        assert!(
            reserve.with_reserve(Path::new("/data/other"), || write(&disk, 4_096)).is_err(),
            "this thread may not wait"
        );
        drop(keep_reserve);
        reserve.with_reserve(Path::new("/data/other"), || write(&disk, 4_096)).unwrap();
        assert!(
            reserve.with_reserve(Path::new("/data/other"), || write(&disk, 1 << 20)).is_err(),
            "half of the file is for starts"
        );
        reserve.refill(256 << 10).unwrap();
        let length = || disk.open(Path::new("/data/reserve")).and_then(|file| file.len()).unwrap();
        assert_eq!(length(), 32 << 10, "there is no space for more yet");
        disk.remove_file(Path::new("/data/other")).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        reserve.refill(256 << 10).unwrap();
        assert_eq!(length(), 64 << 10);
    }

    #[test]
    fn repeated_starts_succeed_on_a_disk_that_others_fill_each_time() {
        let disk = MemDisk::default();
        disk.set_capacity(4 << 20);
        reserve_on(&disk).refill(2 << 20).unwrap(); // 512 KiB.
        let start = |bytes| {
            let reserve = ReserveFile::new(Arc::new(disk.clone()), Path::new("/data"));
            let free = usize::try_from(disk.space().unwrap().free).unwrap();
            write(&disk, free).unwrap();
            let file = disk.open(Path::new("/data/other")).unwrap();
            let (end, more) = (file.len().unwrap(), vec![1; bytes]);
            let done = reserve.with_reserve(file.path(), || file.write_all_at(&more, end));
            reserve.refill(2 << 20).unwrap(); // There is no space for that, but the start is over.
            (reserve, done.is_ok())
        };
        let (serving, started) = start(4_096);
        assert!(started);
        while serving.with_reserve(Path::new("/data/other"), || write(&disk, 4_096)).is_ok() {}
        for at in 0..4 {
            assert!(start(4_096).1, "start {at} fails: an earlier broker used up the file");
        }
        assert!(start(100 << 10).1, "it gets as much as it needs");
    }

    #[test]
    fn a_disk_without_inodes_lends_one_to_replace_a_small_file() {
        let disk = MemDisk::default();
        let reserve = reserve_on(&disk);
        reserve.refill(1 << 20).unwrap();
        disk.set_inodes(2);
        let create =
            |path: &'static str| reserve.with_reserve(Path::new(path), || disk.create(Path::new(path)).map(drop));
        let refused = create("/data/1.growerlog").unwrap_err();
        assert!(reserve.is_for_inodes(&refused), "the inode is for small files");
        assert!(create("/data/checkpoint.tmp").is_err(), "the inode would be gone for good");
        disk.set_inodes(3);
        create("/data/checkpoint").unwrap();
        create("/data/checkpoint.tmp").unwrap();
        disk.rename(Path::new("/data/checkpoint.tmp"), Path::new("/data/checkpoint")).unwrap();
        reserve.reclaim_inode();
        assert!(create("/data/1.growerlog").is_err(), "it is kept again");
        disk.set_inodes(4);
        create("/data/1.growerlog").unwrap();
    }

    #[test]
    fn an_error_on_a_disk_with_free_space_uses_no_reserve() {
        let disk = MemDisk::default();
        let reserve = reserve_on(&disk);
        reserve.refill(1 << 20).unwrap();
        let full =
            || Err::<(), _>(DiskError::at("write", Path::new("/data/x"))(std::io::ErrorKind::StorageFull.into()));
        assert!(reserve.with_reserve(Path::new("/data/x"), full).is_err());
        assert!(disk.open(Path::new("/data/reserve")).is_ok());
    }
}
