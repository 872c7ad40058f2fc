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
    // SAFETY: the bytes must not change or vanish while the map lives. `Disk::map` is for files that nobody changes
    // any more: a sealed index is complete, synced and never written, cut or extended again (a rebuilt one gets a new
    // file and is renamed into place), removing it leaves the inode to the map, and the data directory is locked
    // against other processes and closed to other users. Beyond that the map is never trusted: each entry carries its
    // own checksum.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Mapped::new(map))
}
