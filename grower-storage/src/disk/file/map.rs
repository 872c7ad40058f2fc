//! Read-only maps of sealed files.
#![expect(unsafe_code, reason = "a map of a file is only as constant as the file")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

use crate::disk::Mapped;

/// Maps a whole file.
pub(super) fn whole(file: &File) -> io::Result<Mapped> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into()); // The system would say that there is no such device.
    }
    // SAFETY: the bytes of the map must not change or vanish while it lives. `Disk::map` is for files whose bytes
    // never change. A sealed index is complete, synced and never written again. While a partition is opened, recovery
    // may map the index of the active segment and then append to that file: the map keeps the file's former length,
    // and none of those bytes is written again. No index is ever cut or overwritten: changed bytes go to a new file,
    // which is renamed into place. Removing a file leaves the inode to the map, and the data directory is locked
    // against other processes and closed to other users. Beyond that the map is never trusted: each entry carries its
    // own checksum.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Mapped::new(map))
}
