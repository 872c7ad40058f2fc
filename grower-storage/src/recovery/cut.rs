//! Cutting a torn tail, and keeping what is cut.

use super::{Context, CutTail};
use crate::disk::{DiskError, SharedFile, if_found};
use crate::segment::Extent;
use std::ops::Range;
use std::path::PathBuf;

const CHUNK: u64 = 1 << 20;

/// Cuts the file at `end`, durably. The bytes are kept first: they may hold the last group that was acknowledged.
pub(super) fn cut(
    context: &Context<'_>,
    file: &SharedFile,
    end: Extent,
    length: u64,
) -> Result<Option<CutTail>, DiskError> {
    let written = end_of_content(file, end.position..length)?;
    let kept = keep(context, file, end, written)?;
    file.set_len(end.position)?;
    context.disk.sync_many(std::slice::from_ref(file))?;
    let bytes = written - end.position;
    Ok(Some(CutTail { path: file.path().to_owned(), end: end.end, position: end.position, bytes, kept }))
}

fn keep(context: &Context<'_>, file: &SharedFile, end: Extent, written: u64) -> Result<Option<PathBuf>, DiskError> {
    let Some(dir) = &context.place.cut_dir else { return Ok(None) };
    let place = context.place;
    let name = format!("{}-{}-{:020}-{}.cut", place.topic_id, place.partition, end.end.value(), end.position);
    let path = dir.join(name);
    context.disk.create_dir_all(dir)?;
    if_found(context.disk.remove_file(&path))?; // From a recovery that was cut short itself.
    let copy = context.disk.create(&path)?;
    copy_range(file, end.position..written, &copy)?;
    context.disk.sync_many(&[copy])?;
    context.disk.sync_dir(dir)?;
    Ok(Some(path))
}

/// Copies a stretch of one file to the start of another.
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

/// Writes a stretch in place once more, the same bytes.
///
/// After a sync that failed, the kernel may hold pages as clean that never reached the disk: they read well, and syncing
/// them does nothing. Writing makes them dirty, so that the sync which follows says something about them.
pub(super) fn write_again(file: &SharedFile, range: Range<u64>) -> Result<(), DiskError> {
    for_each_chunk(file, range, |bytes, position| file.write_all_at(bytes, position).map(|()| true))
}

/// Reads a stretch piece by piece, until its end, the file's, or `each` has seen enough.
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
