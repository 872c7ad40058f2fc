//! How long it takes to find an offset or a time in a sealed segment of single-record batches of 100 bytes.
//!
//! `cargo bench -p grower-storage --bench lookup -- DIR MIB` does it in a segment of MIB MiB and in one of a tenth, in
//! turns, and prints a line for each round: the kind, the segment's size, the time of one lookup. Without arguments, as
//! a test, it looks up a few in a small segment.

use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use grower_storage::disk::{Disk, FileDisk};
use grower_storage::log::{Appended, DiskLog, Log, LogLocation, LogOptions, LogReader};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: u32 = 3;
const LOOKUPS: u32 = 20_000;
/// The bytes of one write.
const CHUNK: usize = 1 << 20;
const EPOCH: LeaderEpoch = LeaderEpoch::new(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.as_slice() {
        [directory, mib] => compare(Path::new(directory), mib.parse()?),
        _ => {
            let directory = tempfile::tempdir()?;
            Segment::fill(directory.path(), 256 << 10)?.look_up(200).map(drop)
        }
    }
}

fn compare(directory: &Path, mib: u32) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::Builder::new().prefix("lookup-").tempdir_in(directory)?;
    let mut segments = Vec::new();
    for mib in [mib / 10, mib] {
        segments.push((mib, Segment::fill(&directory.path().join(mib.to_string()), mib << 20)?));
    }
    for _ in 0..ROUNDS {
        for (mib, segment) in &segments {
            let (offset, time) = segment.look_up(LOOKUPS)?;
            println!("offset {mib} MiB {offset:.0} ns");
            println!("time {mib} MiB {time:.0} ns");
        }
    }
    Ok(())
}

/// A log whose first segment is sealed: full, synced, its index mapped.
struct Segment {
    reader: LogReader,
    records: u64,
    /// Owns the files.
    _log: DiskLog,
}

impl Segment {
    /// One record a millisecond, until a second segment begins. All but the first and the last are written into the
    /// file in large chunks, where opening finds them as after a crash: millions of appends would take long.
    fn fill(directory: &Path, bytes: u32) -> Result<Self, Box<dyn Error>> {
        let disk = Arc::new(FileDisk::new(directory));
        let place = LogLocation {
            dir: directory.join("0"),
            topic_id: TopicId::from_bytes([7; 16]),
            partition: PartitionId::new(0),
            cut_dir: None,
        };
        let options = LogOptions { segment_bytes: bytes, segment_ms: u64::MAX, ..LogOptions::default() };
        let open = || DiskLog::open(disk.clone(), place.clone(), options.clone(), Timestamp::from_millis(0));
        append(&mut open()?.0, 0)?;
        let records = write_behind_the_first(&place.dir.join("00000000000000000000.growerlog"), bytes)?;
        let (mut log, _) = open()?;
        assert_eq!(log.span().end, Offset::new(records), "opening finds all that was written");
        assert!(append(&mut log, records)?.rolled, "the segment was full");
        let point = log.flush_point();
        let synced = disk.sync_many(&point.files);
        log.flushed(&point, synced)?;
        Ok(Self { reader: log.reader(), records, _log: log })
    }

    /// The time of one lookup by offset and one by time, in nanoseconds, over `count` of each all over the segment.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    fn look_up(&self, count: u32) -> Result<(f64, f64), Box<dyn Error>> {
        let end = Offset::new(self.records);
        let began = Instant::now();
        for wanted in self.places(count) {
            let slices = self.reader.read(Offset::new(wanted), 1, end)?;
            assert!(slices.len() == 1 && slices[0].offsets().start.value() == wanted, "another batch than {wanted}");
        }
        let by_offset = began.elapsed();
        let began = Instant::now();
        for wanted in self.places(count) {
            let found = self.reader.offset_for_time(Timestamp::from_millis(wanted as i64), end)?;
            assert_eq!(found.map(|found| found.offset.value()), Some(wanted));
        }
        let by_time = began.elapsed();
        Ok((by_offset.as_nanos() as f64 / f64::from(count), by_time.as_nanos() as f64 / f64::from(count)))
    }

    /// The same on every run, and far apart.
    fn places(&self, count: u32) -> impl Iterator<Item = u64> {
        let records = self.records;
        (0..u64::from(count)).map(move |at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) % records)
    }
}

fn append(log: &mut DiskLog, number: u64) -> Result<Appended, Box<dyn Error>> {
    Ok(log.append(batch(number), EPOCH, Timestamp::from_millis(number as i64))?)
}

/// Fills the segment with batches and returns how many it has.
fn write_behind_the_first(path: &Path, bytes: u32) -> Result<u64, Box<dyn Error>> {
    let file = File::options().write(true).open(path)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let (mut at, mut number) = (batch(0).place(Offset::ZERO, EPOCH).bytes().len() as u64, 1);
    loop {
        let batch = batch(number).place(Offset::new(number), EPOCH);
        let full = u64::from(bytes) < at + (chunk.len() + batch.bytes().len()) as u64;
        if full || CHUNK < chunk.len() + batch.bytes().len() {
            file.write_all_at(&chunk, at)?;
            at += chunk.len() as u64;
            chunk.clear();
        }
        if full {
            return Ok(number);
        }
        chunk.extend_from_slice(batch.bytes());
        number += 1;
    }
}

fn batch(number: u64) -> UnplacedBatch {
    let mut value = vec![0x5a; 100];
    value[..8].copy_from_slice(&number.to_be_bytes());
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record {
        timestamp: Timestamp::from_millis(number as i64),
        value: Some(value.into()),
        ..Record::default()
    });
    UnplacedBatch::built(builder.build(None))
}
