//! The files beside the followed one: those it was rotated to, and copies made before it was truncated.
//!
//! A rotated file is found by its inode under any name. Files rotated *after* it, which nobody has read yet, are known
//! by their names: the followed name, `.` or `-`, and digits as in `app.log.1` or `app.log-20261121`.

use super::fingerprint::{FileId, Fingerprint};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file beside the followed one.
pub(super) struct Sibling {
    path: PathBuf,
    metadata: Metadata,
}

impl Sibling {
    /// The regular files in the directory of `path`, itself left out.
    pub(super) fn all(path: &Path) -> io::Result<Vec<Self>> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let other = entry?.path();
            match fs::metadata(&other) {
                Ok(metadata) if metadata.is_file() && other.file_name() != path.file_name() => {
                    found.push(Self { path: other, metadata });
                }
                _ => {} // Gone meanwhile, or nothing to read.
            }
        }
        Ok(found)
    }

    /// Opens it if it is that very file, grown perhaps.
    pub(super) fn open_if_same(&self, id: FileId, fingerprint: &Fingerprint) -> Option<File> {
        (FileId::of(&self.metadata) == id).then(|| self.open_if_alike(fingerprint)).flatten()
    }

    /// Opens it if it begins with the same bytes: the file itself or a copy of it.
    pub(super) fn open_if_alike(&self, fingerprint: &Fingerprint) -> Option<File> {
        File::open(&self.path).ok().filter(|file| fingerprint.matches(file))
    }
}

/// The file that was rotated away next after `current` and that nobody has read; none if the followed path is next.
pub(super) fn successor(path: &Path, current: &Metadata) -> io::Result<Option<File>> {
    let siblings = Sibling::all(path)?;
    let id = FileId::of(current);
    let own_suffix = siblings.iter().find(|s| FileId::of(&s.metadata) == id).and_then(|s| suffix(path, &s.path));
    let now = (modified(current), own_suffix.unwrap_or_default());
    let mut later: Vec<_> = siblings
        .iter()
        .filter(|sibling| FileId::of(&sibling.metadata) != id)
        .filter_map(|sibling| Some((modified(&sibling.metadata), suffix(path, &sibling.path)?, sibling)))
        .filter(|(time, suffix, _)| rotated_order(&(*time, suffix.clone()), &now) == Ordering::Greater)
        .collect();
    later.sort_by(|a, b| rotated_order(&(a.0, a.1.clone()), &(b.0, b.1.clone())));
    later.first().map(|(_, _, sibling)| File::open(&sibling.path)).transpose()
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// What rotation put behind the name, without the `.` or `-`; none for files that are no rotation of it.
fn suffix(path: &Path, other: &Path) -> Option<String> {
    let (name, other) = (path.file_name().map(OsStr::to_string_lossy)?, other.file_name().map(OsStr::to_string_lossy)?);
    let suffix = other.strip_prefix(name.as_ref())?.strip_prefix(['.', '-'])?.to_owned();
    let is_date_like = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':' | 'Z');
    (suffix.starts_with(|c: char| c.is_ascii_digit()) && suffix.chars().all(is_date_like)).then_some(suffix)
}

/// Older first: by the last write; where the clock does not tell, `.2` is older than `.1`, and dates grow.
fn rotated_order(a: &((i64, i64), String), b: &((i64, i64), String)) -> Ordering {
    let by_suffix = || match (a.1.parse::<u16>(), b.1.parse::<u16>()) {
        (Ok(a), Ok(b)) => b.cmp(&a),
        _ => a.1.cmp(&b.1),
    };
    a.0.cmp(&b.0).then_with(by_suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rotations_of_the_name_count() {
        let of = |other: &str| suffix(Path::new("/var/log/app.log"), &Path::new("/var/log").join(other));
        for rotated in ["app.log.1", "app.log-20261121", "app.log.2026-11-21T08:30:00Z"] {
            assert!(of(rotated).is_some(), "{rotated}");
        }
        for other in
            ["app.log", "app.log.1.gz", "app.log.old", "app.log.events.grower-place", "other.log.1", "app.log1"]
        {
            assert!(of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn of_two_files_written_at_one_moment_the_higher_number_is_older() {
        let at = |suffix: &str| ((5, 0), suffix.to_owned());
        assert_eq!(rotated_order(&at("10"), &at("9")), Ordering::Less);
        assert_eq!(rotated_order(&at("20261120"), &at("20261121")), Ordering::Less);
        assert_eq!(rotated_order(&((4, 0), "1".to_owned()), &at("2")), Ordering::Less);
    }
}
