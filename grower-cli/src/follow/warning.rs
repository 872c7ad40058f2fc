//! Warnings about a followed file. Each text names the file.

use grower_client::ids::{Offset, PartitionId};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A situation in which lines may be missing, duplicated or delayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    /// The file, or its folder, is missing or unreadable.
    #[error("{file}: {why}: waiting until it can be read")]
    Waiting { file: PathBuf, why: String },
    /// The file that was read is gone. It was at `target`, if the path leads elsewhere now.
    #[error(
        "{path} is not the file that was read up to byte {offset}, and that file{} is gone: reading the new one from its \
         beginning; the old file's later lines are missing{}",
        in_brackets(target.as_deref()),
        unless_in(compressed)
    )]
    Gone { path: PathBuf, target: Option<PathBuf>, offset: u64, compressed: Vec<PathBuf> },
    /// The file was truncated or rewritten.
    #[error(
        "{path} was truncated or rewritten after it was read up to byte {offset}: reading it from its beginning; lines after \
         that byte are missing{}",
        unless_in(compressed)
    )]
    Rewritten { path: PathBuf, offset: u64, compressed: Vec<PathBuf> },
    /// Another file with the same beginning is at the path.
    #[error("{path} is another file than before and begins with the same {offset} bytes: continuing after them")]
    Replaced { path: PathBuf, offset: u64 },
    /// A rotation shares so few bytes with the file that it may belong to another one.
    #[error(
        "{copy} begins with the {offset} bytes that were read of {path}: treating it as a copy, and continuing after them"
    )]
    UnsureCopy { path: PathBuf, copy: PathBuf, offset: u64 },
    /// A file is read only because of its name.
    #[error("{file} seems to have been rotated from {path} after that was read: reading it from its beginning")]
    UnsureSuccessor { path: PathBuf, file: PathBuf },
    /// A file that was rotated since is not read.
    #[error("{file} is compressed: its unread lines are missing")]
    Compressed { file: PathBuf },
    /// A file grew after a newer one was begun.
    #[error("{file} grew after a newer file was begun: its new lines come after newer ones")]
    Late { file: PathBuf },
    /// The topic was created again after lines of the file were sent to it.
    #[error(
        "topic {topic} was created again after lines of {file} were sent to it: those lines are gone; to send them again, \
         delete {note}"
    )]
    OtherTopic { file: PathBuf, topic: String, note: PathBuf },
    /// The topic lost records that it had when lines of the file were sent.
    #[error(
        "{topic}/{partition} ends at offset {}, and it had records up to offset {}: the lost records may have been lines of \
         {file}",
        lost.start,
        lost.end
    )]
    RecordsLost { file: PathBuf, topic: String, partition: PartitionId, lost: Range<Offset> },
    /// There is no note of an earlier run, which may have been in another folder.
    #[error(
        "the folder of {file} is reached through a link, and no note of an earlier run is there: if the link led to another \
         folder then, the rest of that file is not read; --state-dir keeps the note apart from the link"
    )]
    BehindLink { file: PathBuf },
    /// A file may have changed in the part that is not compared.
    #[error("{file} was written to without growing; its beginning and end are unchanged: not read again")]
    Touched { file: PathBuf },
}

fn in_brackets(target: Option<&Path>) -> String {
    target.map(|target| format!(" ({})", target.display())).unwrap_or_default()
}

/// Names the compressed file that may hold the missing lines.
fn unless_in(compressed: &[PathBuf]) -> String {
    let named = compressed.first().map(|file| format!("; {} is compressed and may hold them", file.display()));
    named.unwrap_or_default()
}
