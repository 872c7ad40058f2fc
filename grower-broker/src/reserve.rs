//! Bytes kept aside for a disk that others filled: `<data-dir>/reserve`.
//!
//! A broker that is started on a full disk must write a little before it can serve reads, and so must a deletion that is to
//! make room. The file gives that room: it is removed when the disk has none left, and comes back once there is enough.

use crate::api::Api;
use crate::background;
use grower_storage::disk::{Disk, DiskError, Space};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The file, below the data directory.
const FILE: &str = "reserve";
/// Its size: this part of what `disk.reserve_bytes` keeps free of records, within these bounds.
const PART: u64 = 4;
const BYTES_MIN: u64 = 64 << 10;
const BYTES_MAX: u64 = 4 << 20;
/// How often it is looked whether the file is missing.
const REFILL_EACH: Duration = Duration::from_secs(10);
/// Written at once where the file system cannot allocate.
const CHUNK: usize = 64 << 10;

/// The file of one data directory.
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Reserve {
    pub(crate) fn new(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self { disk, path: data_dir.join(FILE) }
    }

    /// Does something that needs room. If the disk has none left, the reserve is given up for a second try.
    pub(crate) fn give_room<T>(&self, work: impl Fn() -> Result<T, DiskError>) -> Result<T, DiskError> {
        match work() {
            Err(error) if error.is_full() && self.is_exhausted() && self.give_up().is_ok() => {
                tracing::warn!(%error, "the disk is full: the broker lives on its last reserve; make room");
                work()
            }
            done => done,
        }
    }

    /// A file system may give the room back only once the removal is durable.
    fn give_up(&self) -> Result<(), DiskError> {
        self.disk.remove_file(&self.path)?;
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Whether the disk is full to the last byte, and the error is not about a quota or a size limit alone.
    fn is_exhausted(&self) -> bool {
        self.disk.space().is_ok_and(|space| space.free < BYTES_MIN)
    }

    /// Sets the bytes aside again, if more than `keep_free` stay free after that.
    pub(crate) fn refill(&self, keep_free: u64) -> Result<(), DiskError> {
        let bytes = (keep_free / PART).clamp(BYTES_MIN, BYTES_MAX);
        let Space { free, .. } = self.disk.space()?;
        if free < keep_free.saturating_add(bytes) || self.disk.open(&self.path).is_ok() {
            return Ok(());
        }
        self.fill(bytes).inspect_err(|_| drop(self.disk.remove_file(&self.path)))
    }

    /// Refills until `stop`: room comes back when topics are deleted, or when others free it.
    pub(crate) async fn run(self: Arc<Self>, api: Weak<Api>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFILL_EACH) => self.clone().look(api.clone()).await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Refills if there is room.
    pub(crate) async fn look(self: Arc<Self>, api: Weak<Api>) {
        let refilled = background::blocking(move || {
            let room = api.upgrade().and_then(|api| api.space.room());
            room.map_or(Ok(()), |room| self.refill(room.reserve))
        });
        if let Ok(Err(error)) = refilled.await {
            tracing::debug!(%error, "the reserve is not there yet");
        }
    }

    fn fill(&self, bytes: u64) -> Result<(), DiskError> {
        let file = self.disk.create(&self.path)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use grower_storage::disk::MemDisk;

    fn reserve_on(disk: &MemDisk) -> Reserve {
        disk.create_dir_all(Path::new("/data")).unwrap();
        Reserve::new(Arc::new(disk.clone()), Path::new("/data"))
    }

    fn write(disk: &MemDisk, bytes: usize) -> Result<(), DiskError> {
        let path = Path::new("/data/other");
        let file = disk.create(path).or_else(|_| disk.open(path))?;
        file.write_all_at(&vec![1; bytes], file.len()?)
    }

    #[test]
    fn a_full_disk_has_room_for_a_little_and_the_reserve_comes_back() {
        let disk = MemDisk::default();
        disk.set_capacity(1 << 20);
        let reserve = reserve_on(&disk);
        reserve.refill(256 << 10).unwrap();
        let free = usize::try_from(disk.space().unwrap().free).unwrap();
        assert!(free <= (1 << 20) - (64 << 10), "{free}");
        write(&disk, free).unwrap();
        assert!(write(&disk, 4_096).is_err());
        reserve.give_room(|| write(&disk, 4_096)).unwrap();
        assert!(reserve.give_room(|| write(&disk, 1 << 20)).is_err(), "it is given up once");
        reserve.refill(256 << 10).unwrap();
        assert!(disk.open(Path::new("/data/reserve")).is_err(), "there is no room for it yet");
        disk.remove_file(Path::new("/data/other")).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        reserve.refill(256 << 10).unwrap();
        assert!(disk.open(Path::new("/data/reserve")).is_ok());
    }

    #[test]
    fn a_refusal_on_a_disk_with_room_costs_no_reserve() {
        let disk = MemDisk::default();
        let reserve = reserve_on(&disk);
        reserve.refill(1 << 20).unwrap();
        let full =
            || Err::<(), _>(DiskError::at("write", Path::new("/data/x"))(std::io::ErrorKind::StorageFull.into()));
        assert!(reserve.give_room(full).is_err());
        assert!(disk.open(Path::new("/data/reserve")).is_ok());
    }
}
