//! Cuts a torn tail and keeps the bytes that are cut.

use super::{CutTail, RecoveryContext};
use crate::disk::{DiskError, SharedFile, if_found};
use crate::segment::LogPosition;
use std::ops::Range;
use std::path::PathBuf;

const CHUNK: u64 = 1 << 20;

/// Cuts the file at `end`, durably. The bytes are copied first: they may hold the last group that was acknowledged.
pub(super) fn cut(
    context: &RecoveryContext<'_>,
    file: &SharedFile,
    end: LogPosition,
    length: u64,
) -> Result<Option<CutTail>, DiskError> {
    let written = end_of_content(file, end.bytes..length)?;
    debug_assert!((end.bytes..=length).contains(&written), "what is cut off lies between the new end and the old one");
    let kept = keep(context, file, end, written)?;
    file.set_len(end.bytes)?;
    context.disk.sync_many(std::slice::from_ref(file))?;
    let bytes = written - end.bytes;
    Ok(Some(CutTail { path: file.path().to_owned(), end: end.offset, position: end.bytes, bytes, kept }))
}

fn keep(
    context: &RecoveryContext<'_>,
    file: &SharedFile,
    end: LogPosition,
    written: u64,
) -> Result<Option<PathBuf>, DiskError> {
    let Some(dir) = &context.location.cut_dir else { return Ok(None) };
    let location = context.location;
    let name = format!("{}-{}-{:020}-{}.cut", location.topic_id, location.partition, end.offset.value(), end.bytes);
    let path = dir.join(name);
    context.disk.create_dir_all(dir)?;
    if_found(context.disk.remove_file(&path))?; // From a recovery that a crash interrupted.
    let copy = context.disk.create(&path)?;
    copy_range(file, end.bytes..written, &copy)?;
    context.disk.sync_many(&[copy])?;
    context.disk.sync_dir(dir)?;
    Ok(Some(path))
}

/// Copies a range of one file to the start of another.
pub(crate) fn copy_range(from: &SharedFile, range: Range<u64>, to: &SharedFile) -> Result<(), DiskError> {
    let start = range.start;
    for_each_chunk(from, range, |bytes, position| to.write_all_at(bytes, position - start).map(|()| true))
}

fn end_of_content(file: &SharedFile, range: Range<u64>) -> Result<u64, DiskError> {
    let mut end = range.start;
    for_each_chunk(file, range, |bytes, position| {
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = position + last as u64 + 1;
        }
        Ok(true)
    })?;
    Ok(end)
}

/// Writes a range in place once more, the same bytes.
///
/// After a failed sync the kernel may hold pages as clean that never reached the disk: they read well, and syncing
/// them does nothing. Writing makes them dirty, so that the next sync means something.
pub(super) fn write_again(file: &SharedFile, range: Range<u64>) -> Result<(), DiskError> {
    for_each_chunk(file, range, |bytes, position| file.write_all_at(bytes, position).map(|()| true))
}

/// Reads a range chunk by chunk until its end or the file's, or until `each` returns false.
fn for_each_chunk(
    file: &SharedFile,
    range: Range<u64>,
    mut each: impl FnMut(&[u8], u64) -> Result<bool, DiskError>,
) -> Result<(), DiskError> {
    let mut position = range.start;
    let mut buffer = Vec::new();
    while position < range.end {
        buffer.resize(usize::try_from(CHUNK.min(range.end - position)).unwrap_or(usize::MAX), 0);
        let read = file.read_at(&mut buffer, position)?;
        if read == 0 || !each(&buffer[..read], position)? {
            break;
        }
        position += read as u64;
    }
    Ok(())
}
