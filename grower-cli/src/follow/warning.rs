//! Warnings about a followed file. Each text names the file.

use grower_client::ids::{Offset, PartitionId};
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::path::PathBuf;

/// A situation in which lines may be missing, duplicated or delayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The file, or its folder, is missing or unreadable.
    Waiting { file: PathBuf, why: String },
    /// The file that was read is gone. It was at `target`, if the path leads elsewhere now.
    Gone { path: PathBuf, target: Option<PathBuf>, offset: u64, compressed: Vec<PathBuf> },
    /// The file was truncated or rewritten.
    Rewritten { path: PathBuf, offset: u64, compressed: Vec<PathBuf> },
    /// Another file with the same beginning is at the path.
    Replaced { path: PathBuf, offset: u64 },
    /// A rotation shares so few bytes with the file that it may belong to another one.
    UnsureCopy { path: PathBuf, copy: PathBuf, offset: u64 },
    /// A file is read only because of its name.
    UnsureSuccessor { path: PathBuf, file: PathBuf },
    /// A file that was rotated since is not read.
    Compressed { file: PathBuf },
    /// A file grew after a newer one was begun.
    Late { file: PathBuf },
    /// The topic was created again after lines of the file were sent to it.
    OtherTopic { file: PathBuf, topic: String, note: PathBuf },
    /// The topic lost records that it had when lines of the file were sent.
    RecordsLost { file: PathBuf, topic: String, partition: PartitionId, lost: Range<Offset> },
    /// There is no note of an earlier run, which may have been in another folder.
    BehindLink { file: PathBuf },
    /// A file may have changed in the part that is not compared.
    Touched { file: PathBuf },
}

impl Display for Warning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { file, why } => write!(f, "{}: {why}: waiting until it can be read", file.display()),
            Self::Gone { path, target, offset, compressed } => {
                let target = target.as_ref().map_or(String::new(), |target| format!(" ({})", target.display()));
                write!(
                    f,
                    "{} is not the file that was read up to byte {offset}, and that file{target} is gone: reading the new one \
                     from its beginning; the old file's later lines are missing",
                    path.display()
                )?;
                unless_in(compressed, f)
            }
            Self::Rewritten { path, offset, compressed } => {
                write!(
                    f,
                    "{} was truncated or rewritten after it was read up to byte {offset}: reading it from its beginning; \
                     lines after that byte are missing",
                    path.display()
                )?;
                unless_in(compressed, f)
            }
            Self::Replaced { path, offset } => write!(
                f,
                "{} is another file than before and begins with the same {offset} bytes: continuing after them",
                path.display()
            ),
            Self::UnsureCopy { path, copy, offset } => write!(
                f,
                "{} begins with the {offset} bytes that were read of {}: treating it as a copy, and continuing after them",
                copy.display(),
                path.display()
            ),
            Self::UnsureSuccessor { path, file } => write!(
                f,
                "{} seems to have been rotated from {} after that was read: reading it from its beginning",
                file.display(),
                path.display()
            ),
            Self::Compressed { file } => {
                write!(f, "{} is compressed: its unread lines are missing", file.display())
            }
            Self::Late { file } => {
                write!(f, "{} grew after a newer file was begun: its new lines come after newer ones", file.display())
            }
            Self::OtherTopic { file, topic, note } => write!(
                f,
                "topic {topic} was created again after lines of {} were sent to it: those lines are gone; to send them again, \
                 delete {}",
                file.display(),
                note.display()
            ),
            Self::RecordsLost { file, topic, partition, lost } => write!(
                f,
                "{topic}/{partition} ends at offset {}, and it had records up to offset {}: the lost records may have been lines of \
                 {}",
                lost.start,
                lost.end,
                file.display()
            ),
            Self::BehindLink { file } => write!(
                f,
                "the folder of {} is reached through a link, and no note of an earlier run is there: if the link led to \
                 another folder then, the rest of that file is not read; --state-dir keeps the note apart from the link",
                file.display()
            ),
            Self::Touched { file } => write!(
                f,
                "{} was written to without growing; its beginning and end are unchanged: not read again",
                file.display()
            ),
        }
    }
}

fn unless_in(compressed: &[PathBuf], f: &mut Formatter<'_>) -> fmt::Result {
    match compressed.first() {
        Some(file) => write!(f, "; {} is compressed and may hold them", file.display()),
        None => Ok(()),
    }
}
