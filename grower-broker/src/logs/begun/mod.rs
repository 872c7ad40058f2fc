//! The list of begun partitions, which have had records: `<data-dir>/begun`.
//!
//! A partition without files is new, or it lost its files. This file tells the two apart, so that a lost partition is
//! not served as an empty one. It belongs to the node, not to the metadata, and has one line for each partition:
//!
//! ```text
//! + 6d2f8a9c-1b7e-4c55-9f0e-3a1d2b4c5e6f 0 events a1b2c3d4
//! - 6d2f8a9c-1b7e-4c55-9f0e-3a1d2b4c5e6f b2c3d4e5
//! ```
//!
//! `+` marks a begun partition. The line is durable before the first record is written, and after its segment was
//! created: a crash in between leaves files without a line, never a line without files. `-` marks a deleted topic.
//! Each line ends with the crc32 of the text before it. A damaged line is ignored, and the next start writes it again
//! from the partition's files. A crash may leave torn lines: without an end, or with zeros for parts that never
//! reached the disk. An offline check reports every other damaged line.

use crate::metadata::{Uuid, whole_file};
use grower_protocol::ids::{PartitionId, TopicId, TopicName};
use grower_storage::disk::{Disk, DiskError, SharedFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "begun";
/// Far more than 100,000 partitions need.
const BYTES_MAX: u64 = 256 << 20;
/// The file is rewritten when it is longer than this and than four times its needed length.
const REWRITE_BYTES: u64 = 1 << 20;
/// The approximate length of a line.
const LINE_BYTES: u64 = 100;

/// Begun partitions, with the names of their topics.
pub(crate) type BegunPartitions = BTreeMap<(TopicId, PartitionId), TopicName>;

/// The file of a data directory in use.
pub(crate) struct BegunFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    state: Mutex<BegunState>,
    /// The durable end of the file. Held during a sync: the next holder may find its line durable already.
    synced: Mutex<FileEnd>,
}

/// An end of the file: the number of rewrites, then the length.
type FileEnd = (u64, u64);

struct BegunState {
    partitions: BegunPartitions,
    /// Whether the directory had the file. Without it, a partition without files may be new or lost.
    known: bool,
    /// The file and its length; none before the first write, and after a failed rewrite.
    file: Option<(SharedFile, u64)>,
    /// The number of rewrites.
    replaced: u64,
    /// The file differs from `partitions`.
    stale: bool,
}

impl BegunFile {
    /// Reads the file of a data directory.
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Self, DiskError> {
        let found = read(&*disk, data_dir)?;
        let known = found.is_some();
        let state = BegunState { partitions: found.unwrap_or_default(), known, file: None, replaced: 0, stale: true };
        Ok(Self { disk, path: data_dir.join(FILE), state: Mutex::new(state), synced: Mutex::default() })
    }

    /// Whether a partition has begun; none in a directory of a version without the file.
    pub(crate) fn has(&self, topic: TopicId, partition: PartitionId) -> Option<bool> {
        let state = self.state.lock();
        state.known.then(|| state.partitions.contains_key(&(topic, partition)))
    }

    /// Notes a partition that has files; durable with the next rewrite.
    pub(crate) fn found(&self, topic: TopicId, partition: PartitionId, name: &TopicName) {
        let mut state = self.state.lock();
        state.stale |= state.partitions.insert((topic, partition), name.clone()).is_none();
    }

    /// Keeps only these topics, and rewrites the file if it differs.
    pub(crate) fn retain(&self, live: &BTreeSet<TopicId>) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let before = state.partitions.len();
        state.partitions.retain(|(topic, _), _| live.contains(topic));
        state.known = true;
        if state.stale || state.partitions.len() < before || state.file.is_none() {
            self.write_whole(&mut state)?;
        }
        Ok(())
    }

    /// Notes that a partition begins; durable when this returns.
    pub(crate) fn begin(&self, topic: TopicId, partition: PartitionId, name: &TopicName) -> Result<(), DiskError> {
        let line = line(&format!("+ {topic} {partition} {name}"));
        self.append(&line, |partitions| drop(partitions.insert((topic, partition), name.clone())))
    }

    /// Removes the partitions of a deleted topic.
    pub(crate) fn forget(&self, topic: TopicId) -> Result<(), DiskError> {
        if !self.state.lock().partitions.keys().any(|(of, _)| *of == topic) {
            return Ok(());
        }
        self.append(&line(&format!("- {topic}")), |partitions| partitions.retain(|(of, _), _| *of != topic))
    }

    fn append(&self, line: &str, change: impl FnOnce(&mut BegunPartitions)) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let needed = REWRITE_BYTES.max(4 * LINE_BYTES * state.partitions.len() as u64);
        let file = state.file.clone().filter(|(_, end)| !state.stale && *end < needed);
        let Some((file, end)) = file else {
            change(&mut state.partitions);
            state.stale = true;
            return self.write_whole(&mut state);
        };
        file.write_all_at(line.as_bytes(), end)?;
        let end = end + line.len() as u64;
        state.file = Some((file.clone(), end));
        change(&mut state.partitions);
        let written = (state.replaced, end);
        drop(state);
        self.sync(written)
    }

    /// Syncs the file up to `written`. One sync covers all earlier lines, and a rewritten file contains them as well.
    fn sync(&self, written: FileEnd) -> Result<(), DiskError> {
        let mut synced = self.synced.lock();
        if written <= *synced {
            return Ok(());
        }
        let (file, upto) = {
            let mut state = self.state.lock();
            let Some((file, end)) = state.file.clone() else {
                return self.write_whole(&mut state); // A rewrite failed, and the file before it was not synced.
            };
            (file, (state.replaced, end))
        };
        self.disk.sync_many(&[file])?;
        *synced = upto;
        Ok(())
    }

    fn write_whole(&self, state: &mut BegunState) -> Result<(), DiskError> {
        let text = text_of(&state.partitions);
        state.file = None;
        whole_file::replace(&*self.disk, &self.path, text.as_bytes())?;
        state.file = Some((self.disk.open(&self.path)?, text.len() as u64));
        state.replaced += 1;
        state.stale = false;
        Ok(())
    }
}

/// Reads the begun partitions of a data directory; none without the file.
pub(crate) fn read(disk: &dyn Disk, data_dir: &Path) -> Result<Option<BegunPartitions>, DiskError> {
    Ok(read_bytes(disk, data_dir)?.map(|bytes| parse(&bytes).partitions))
}

/// The byte ranges of damaged lines that no crash leaves.
pub(crate) fn damaged_lines(disk: &dyn Disk, data_dir: &Path) -> Result<Vec<Range<u64>>, DiskError> {
    Ok(read_bytes(disk, data_dir)?.map(|bytes| parse(&bytes).damaged).unwrap_or_default())
}

/// The content of a file as it would be rewritten. For fuzzing.
pub fn written_again(bytes: &[u8]) -> String {
    text_of(&parse(bytes).partitions)
}

fn read_bytes(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match disk.open(&data_dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.len()?.min(BYTES_MAX)).unwrap_or(0);
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// A begun partition without files.
#[derive(Clone, Debug)]
pub(crate) struct LostPartition {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) name: TopicName,
    /// The directory of its files.
    pub(crate) dir: PathBuf,
}

/// The begun partitions of a data directory that lost all files.
pub(crate) fn lost_partitions(disk: &dyn Disk, data_dir: &Path) -> Result<Vec<LostPartition>, DiskError> {
    let mut lost = Vec::new();
    for ((topic, partition), name) in read(disk, data_dir)?.unwrap_or_default() {
        let dir = data_dir.join("topics").join(name.as_str()).join(partition.to_string());
        let names: BTreeSet<String> = match disk.list(&dir) {
            Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
            Err(error) if error.is_not_found() => BTreeSet::new(),
            Err(_) => continue, // Something else is there, which a check reports.
        };
        if !names.contains("checkpoint") && !names.iter().any(|name| name.ends_with(".growerlog")) {
            lost.push(LostPartition { topic, partition, name, dir });
        }
    }
    Ok(lost)
}

/// Removes lost partitions from the list of a stopped directory: they start empty.
pub(crate) fn remove_lost(disk: &dyn Disk, data_dir: &Path, lost: &[LostPartition]) -> Result<(), DiskError> {
    let mut partitions = read(disk, data_dir)?.unwrap_or_default();
    for LostPartition { topic, partition, .. } in lost {
        partitions.remove(&(*topic, *partition));
    }
    whole_file::replace(disk, &data_dir.join(FILE), text_of(&partitions).as_bytes())
}

fn text_of(partitions: &BegunPartitions) -> String {
    let lines = partitions.iter();
    lines.map(|((topic, partition), name)| line(&format!("+ {topic} {partition} {name}"))).collect()
}

fn line(content: &str) -> String {
    format!("{content} {:08x}\n", crc32fast::hash(content.as_bytes()))
}

/// The parsed file.
#[derive(Debug, Default, PartialEq, Eq)]
struct ParsedBegun {
    partitions: BegunPartitions,
    /// Byte ranges of damaged lines.
    damaged: Vec<Range<u64>>,
}

/// A parsed line.
enum BegunLine {
    Begun(TopicId, PartitionId, TopicName),
    Deleted(TopicId),
}

fn parse(bytes: &[u8]) -> ParsedBegun {
    let (mut parsed, mut start) = (ParsedBegun::default(), 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len() as u64;
        match BegunLine::parse(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some(BegunLine::Begun(topic, partition, name)) => {
                parsed.partitions.insert((topic, partition), name);
            }
            Some(BegunLine::Deleted(topic)) => parsed.partitions.retain(|(of, _), _| *of != topic),
            None if is_torn(line) => {}
            None => parsed.damaged.push(start..end),
        }
        start = end;
    }
    parsed
}

/// Whether a crash may have left an unreadable line. The last line may lack its end, but a whole line with another
/// last byte is damage.
fn is_torn(line: &[u8]) -> bool {
    let cut_short = match line.split_last() {
        Some((b'\n', _)) => false,
        Some((_, whole)) => BegunLine::parse(whole).is_none(),
        None => true,
    };
    cut_short || line.windows(2).any(|two| two == [0, 0])
}

impl BegunLine {
    fn parse(line: &[u8]) -> Option<Self> {
        let words: Vec<&str> = checked(std::str::from_utf8(line).ok()?)?.split(' ').collect();
        match *words.as_slice() {
            ["+", topic, partition, name] => {
                let partition = PartitionId::new(partition.parse().ok()?);
                Some(Self::Begun(topic_id(topic)?, partition, TopicName::new(name).ok()?))
            }
            ["-", topic] => Some(Self::Deleted(topic_id(topic)?)),
            _ => None,
        }
    }
}

/// A line without its checksum, if the checksum is right.
fn checked(line: &str) -> Option<&str> {
    let (content, crc) = line.rsplit_once(' ')?;
    (crc == format!("{:08x}", crc32fast::hash(content.as_bytes()))).then_some(content)
}

/// A topic id in its canonical form.
pub(super) fn topic_id(text: &str) -> Option<TopicId> {
    let uuid: Uuid = text.parse().ok()?;
    Some(TopicId::from_bytes(*uuid.as_bytes()))
}

#[cfg(test)]
mod tests;
