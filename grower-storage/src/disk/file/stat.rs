//! Facts about a file, asked for without its times.
//!
//! Since Linux 6.13 a file whose times were read gets an exact time with its next write, and the sync after that write
//! commits the inode as well: 125 us instead of 90 us for each record that is synced alone. Files that take appends are
//! therefore never asked for with `fstat`, which reads all.

use rustix::fs::{AtFlags, CWD, Stat, Statx, StatxFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Which file it is, on this machine: device (major, minor) and inode.
pub(super) type FileId = (u32, u32, u64);

/// The file that is open.
pub(super) fn id_of(file: impl AsFd) -> io::Result<FileId> {
    of_open(file, StatxFlags::INO, |found| (found.stx_dev_major, found.stx_dev_minor, found.stx_ino), id_from_stat)
}

/// The file that a path leads to.
pub(super) fn id_at(path: &Path) -> io::Result<FileId> {
    match rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino)),
        Err(Errno::NOSYS) => Ok(id_from_stat(&rustix::fs::stat(path)?)),
        Err(error) => Err(error.into()),
    }
}

/// The length of an open file in bytes.
pub(super) fn len_of(file: impl AsFd) -> io::Result<u64> {
    of_open(file, StatxFlags::SIZE, |found| found.stx_size, |found| u64::try_from(found.st_size).unwrap_or(0))
}

fn of_open<T>(
    file: impl AsFd,
    wanted: StatxFlags,
    from_statx: impl Fn(&Statx) -> T,
    from_stat: impl Fn(&Stat) -> T,
) -> io::Result<T> {
    match rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, wanted) {
        Ok(found) => Ok(from_statx(&found)),
        Err(Errno::NOSYS) => Ok(from_stat(&rustix::fs::fstat(&file)?)), // Some sandboxes refuse the newer call.
        Err(error) => Err(error.into()),
    }
}

fn id_from_stat(found: &Stat) -> FileId {
    (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev), found.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn both_ways_to_ask_give_the_same_answer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"seven b").unwrap();
        let stat = rustix::fs::fstat(file.as_file()).unwrap();
        assert_eq!(id_of(file.as_file()).unwrap(), id_from_stat(&stat));
        assert_eq!(id_at(file.path()).unwrap(), id_from_stat(&stat));
        assert_eq!(len_of(file.as_file()).unwrap(), 7);
    }
}
