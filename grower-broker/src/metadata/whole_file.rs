//! Small files that are replaced as a whole: a crash leaves the old content or the new, never a mixture.

use grower_storage::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

/// Replaces the content of `path`, in an existing directory; durable when this returns. After an error the file has
/// its old content, and this may be called again unless a sync failed.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let temporary = temporary(path);
    match disk.remove_file(&temporary) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {} // A crash may have left a temporary file.
    }
    let file = disk.create(&temporary)?;
    file.write_all_at(content, 0)?;
    disk.sync_many(&[file])?;
    disk.replace(&temporary, path)
}

/// Far more than any of these files needs. A longer file is damaged, which its beginning shows.
const BYTES_MAX: usize = 256 << 20;

/// The content of a file; none if there is no such file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
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
