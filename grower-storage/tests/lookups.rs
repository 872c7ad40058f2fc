//! Lookups in the log in files against the log in memory, which looks at every record: batches alike and not, clocks
//! that tick, stand and go back, and values that look like batches themselves.

use bytes::Bytes;
use grower_index::{IndexEntry, IndexPosition, SparseIndex, Uniform};
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{DiskLog, IndexFactory, Log, LogLocation, LogOptions, LogReader, MemLog, TimedOffset};
use proptest::prelude::*;
use proptest::sample::select;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data/topics/t/0";

/// A batch to append: how many records, how long their values, and how far the clock moves before it.
type Step = (u32, usize, i64);

/// Runs of equal batches, so that many intervals are uniform, in any order of time.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ticks = prop_oneof![
        3 => prop::collection::vec(select(vec![0, 1, 7, 1_000]), 1..60),
        1 => prop::collection::vec(select(vec![-3, 0, 1]), 1..60),
        1 => (1usize..60).prop_map(|count| vec![1; count]),
    ];
    let interval = (ticks, 1u32..3, 0usize..60);
    prop::collection::vec(interval, 1..4).prop_map(|runs| {
        let like =
            |(ticks, records, length): (Vec<i64>, u32, usize)| ticks.into_iter().map(move |ms| (records, length, ms));
        runs.into_iter().flat_map(like).collect()
    })
}

/// Nearly all of an active segment's index is in its file only.
fn options(interval: u32, segment_bytes: u32) -> LogOptions {
    let index = IndexFactory::new(move |seed| Box::new(SparseIndex::new(interval, seed).in_runs_of(3)));
    LogOptions { segment_bytes, index, ..LogOptions::default() }
}

fn open(disk: &MemDisk, options: &LogOptions) -> DiskLog {
    let place = LogLocation {
        dir: DIR.into(),
        topic_id: TopicId::from_bytes([7; 16]),
        partition: PartitionId::new(0),
        cut_dir: None,
    };
    DiskLog::open(Arc::new(disk.clone()), place, options.clone(), Timestamp::from_millis(0)).unwrap().0
}

fn append_to<const N: usize>(logs: [&mut dyn Log; N], batch: impl Fn() -> UnplacedBatch) {
    for log in logs {
        log.append(batch(), LeaderEpoch::new(1), Timestamp::from_millis(0)).unwrap();
    }
}

fn batch(records: u32, value: &[u8], time: i64) -> UnplacedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        builder.push(&Record {
            timestamp: Timestamp::from_millis(time),
            value: Some(Bytes::copy_from_slice(value)),
            ..Record::default()
        });
    }
    UnplacedBatch::built(builder.build(None))
}

/// The batch that one offset gives, and the record of a time.
fn look_up(reader: &LogReader, offset: u64) -> Option<(std::ops::Range<Offset>, Bytes)> {
    let slices = reader.read(Offset::new(offset), 1, Offset::MAX).unwrap();
    slices.first().map(|slice| (slice.offsets(), slice.read().unwrap()))
}

fn at_time(reader: &LogReader, time: i64, upto: u64) -> Option<TimedOffset> {
    reader.offset_for_time(Timestamp::from_millis(time), Offset::new(upto)).unwrap()
}

fn agree(disk: &LogReader, memory: &LogReader, times: impl IntoIterator<Item = i64>) {
    let span = memory.span();
    assert_eq!(disk.span(), span);
    for offset in span.start.value()..span.end.value() {
        assert_eq!(look_up(disk, offset), look_up(memory, offset), "offset {offset}");
    }
    for time in times {
        for upto in [span.end.value(), span.end.value() / 2] {
            assert_eq!(at_time(disk, time, upto), at_time(memory, time, upto), "time {time} up to {upto}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn offsets_and_times_are_found_where_a_scan_finds_them(
        steps in steps(),
        interval in select(vec![0, 300, 1_000, 4_096]),
        segment_bytes in select(vec![2_000, 1 << 20]),
        trimmed in 0u64..30,
    ) {
        let (disk, options) = (MemDisk::default(), options(interval, segment_bytes));
        let (mut log, mut memory) = (open(&disk, &options), MemLog::new(options.clone()));
        let mut time = 10_000;
        let mut times = vec![i64::MIN, 0, i64::MAX];
        for (records, length, ms) in steps {
            time += ms;
            times.extend([time - 1, time, time + 1]);
            append_to([&mut log, &mut memory], || batch(records, &vec![7; length], time));
        }
        let start = Offset::new(trimmed.min(memory.span().end.value()));
        log.trim(start).unwrap();
        memory.trim(start).unwrap();
        times.sort_unstable();
        times.dedup();
        agree(&log.reader(), &memory.reader(), times.iter().copied());
        log.checkpoint(Timestamp::from_millis(0)).unwrap();
        drop(log);
        agree(&open(&disk, &options).reader(), &memory.reader(), times);
    }
}

/// Each value is a whole batch with the offset that a reader may be looking for.
#[test]
fn a_batch_within_a_record_is_never_taken_for_one_of_the_log() {
    for length in [0, 1] {
        let (disk, options) = (MemDisk::default(), options(1_000, 1 << 20));
        let (mut log, mut memory) = (open(&disk, &options), MemLog::new(options.clone()));
        for offset in 0..60u64 {
            let inner = batch(1, &[], 20_000).place(Offset::new(offset + 1), LeaderEpoch::new(1));
            let mut value = inner.bytes().to_vec();
            value.resize(value.len() + length * (offset % 2) as usize, 0); // Alike, or not.
            append_to([&mut log, &mut memory], || batch(1, &value, 10_000 + offset as i64));
        }
        agree(&log.reader(), &memory.reader(), 9_999..10_061);
    }
}

/// The index says that batches are alike that are not: what is found decides.
#[test]
fn a_wrong_uniform_run_costs_no_record() {
    let (disk, options) = (MemDisk::default(), options(1_000, 4_000));
    let (mut log, mut memory) = (open(&disk, &options), MemLog::new(options.clone()));
    for offset in 0..80i64 {
        let value = vec![7; 40 + offset as usize % 2];
        append_to([&mut log, &mut memory], || batch(1, &value, 10_000 + offset));
    }
    log.checkpoint(Timestamp::from_millis(0)).unwrap();
    drop(log);
    let index = Path::new(DIR).join("00000000000000000000.growerindex");
    let mut entries = disk.map(&index).unwrap().as_ref().to_vec();
    let mut since = IndexPosition::START;
    for bytes in entries.as_chunks_mut().0 {
        let mut entry = IndexEntry::decode(bytes).unwrap();
        let offsets = entry.relative_offset - since.relative_offset;
        let half = (entry.position - since.position).is_multiple_of(offsets / 2) && offsets.is_multiple_of(2);
        entry.uniform = Uniform { batches: if half { offsets as u16 / 2 } else { 1 }, in_time_order: true };
        since = entry.into();
        *bytes = entry.encode();
    }
    disk.remove_file(&index).unwrap();
    disk.create(&index).unwrap().write_all_at(&entries, 0).unwrap();
    agree(&open(&disk, &options).reader(), &memory.reader(), 9_999..10_081);
}
