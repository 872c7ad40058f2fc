//! Small files that are replaced as a whole: a crash leaves the old content or the new, never a mixture.

use grower_storage::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

/// Why a file was not replaced.
#[derive(Debug)]
pub(super) enum ReplaceError {
    /// It has its old content; this may be tried again.
    NotWritten(DiskError),
    /// Nobody knows what the disk holds: a sync is never tried again.
    NotSynced(DiskError),
}

/// Gives `path`, whose directory exists, this content. Durable when it returns.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), ReplaceError> {
    let temporary = temporary(path);
    let write = || {
        match disk.remove_file(&temporary) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {} // A crash may have left one.
        }
        let file = disk.create(&temporary)?;
        file.write_all_at(content, 0)?;
        Ok(file)
    };
    let file = write().map_err(ReplaceError::NotWritten)?;
    disk.sync_many(&[file]).map_err(ReplaceError::NotSynced)?;
    disk.rename(&temporary, path).map_err(ReplaceError::NotWritten)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(ReplaceError::NotSynced)
}

/// Far more than any of these files ever needs. What is longer is damaged, and its beginning is enough to see that.
const BYTES_MAX: usize = 256 << 20;

/// The content of a file; none if there is no such file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match disk.map(path) {
        Ok(content) => {
            let content = content.as_ref();
            Ok(Some(content.get(..BYTES_MAX).unwrap_or(content).to_vec()))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

impl From<ReplaceError> for DiskError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::NotWritten(error) | ReplaceError::NotSynced(error) => error,
        }
    }
}
