//! A partition's directory in which one file holds other bytes.

use super::batch::{samples, seal_all};
use super::input_reader::InputReader;
use crate::Target;
use grower_protocol::batch::{BatchLimits, BatchReader, UnplacedBatch};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{DiskLog, Log, LogLocation, LogOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SMALL_FILE: Target = Target {
    name: "small-file",
    about: "partition.meta, checkpoint, epochs or producers with any content: the log opens or fails with a reason, and \
            records acknowledged afterwards survive a crash",
    run: |input| {
        small_file(input);
    },
    seeds: || {
        let files = STATE_FILES.iter().enumerate();
        let mut seeds: Vec<Vec<u8>> =
            files.map(|(at, (name, ..))| [&[at as u8][..], body(&contents(name))].concat()).collect();
        seeds.push(fenced_producers());
        seeds
    },
    allocates: 16 << 20,
};

pub(super) const SEGMENT: Target = Target {
    name: "segment",
    about: "log and index files with any content: the same, and unreadable ranges are reported as damaged",
    run: |input| {
        segment(input);
    },
    seeds: || {
        let logs = SEGMENT_FILES.iter().enumerate();
        logs.map(|(at, name)| [&[at as u8, REPLACE_TO_END, 0, 0][..], &contents(name)].concat()).collect()
    },
    allocates: 16 << 20,
};

pub(super) const ACCEPTED_LOSSES: Target = Target {
    name: "accepted-losses",
    about: "the audit record of accepted losses, and its pending exchange of files: the same",
    run: |input| {
        accepted_losses(input);
    },
    seeds: losses,
    allocates: 16 << 20,
};

pub(super) const COMPACTION: Target = Target {
    name: "compaction",
    about: "the state of compaction, and its pending exchange of segments: the same",
    run: |input| {
        compaction(input);
    },
    seeds: compactions,
    allocates: 16 << 20,
};

const DIR: &str = "/topic/0";
const NOW: Timestamp = Timestamp::from_millis(5_000);
const STATE_FILES: [(&str, &[u8; 4], u8); 5] = [
    ("partition.meta", b"GWpm", 1),
    ("checkpoint", b"GWcp", 1),
    ("leader-epochs", b"GWle", 1),
    ("producers.snapshot", b"GWps", 1),
    ("producers.snapshot", b"GWps", 2),
];
/// The input replaces the file up to its end.
const REPLACE_TO_END: u8 = 1;
/// The CRCs of the batches stay as they are in the input.
const KEEP_CRCS: u8 = 2;
const SEGMENT_FILES: [&str; 4] = [
    "00000000000000000000.growerlog",
    "00000000000000000000.growerindex",
    "00000000000000000009.growerlog",
    "00000000000000000009.growerindex",
];

/// Puts the input into a valid frame.
fn small_file(input: &[u8]) -> bool {
    let mut input = InputReader(input);
    let (name, kind, version) = STATE_FILES[usize::from(input.byte()) % STATE_FILES.len()];
    check(with_small_file(valid_partition(), name, (kind, version), input.0))
}

fn accepted_losses(input: &[u8]) -> bool {
    check(with_small_file(valid_partition(), "accepted-losses", (b"GWal", 1), input))
}

fn with_small_file(disk: Arc<MemDisk>, name: &str, (kind, version): (&[u8; 4], u8), body: &[u8]) -> Arc<MemDisk> {
    let mut bytes = kind.to_vec();
    bytes.extend_from_slice(&[0, version, 0, 0]);
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    put(&disk, name, &bytes);
    disk
}

/// Producer 1 wrote a record at offset 0 in epoch 0, was fenced, and wrote one at offset 1 in epoch 2.
fn fenced_producers() -> Vec<u8> {
    let last = [&1u64.to_be_bytes()[..], &[0, 0], &0u32.to_be_bytes(), &0u64.to_be_bytes()].concat();
    let batch = |epoch: u8, sequence: u32, offset: u64| {
        [&[0, epoch][..], &sequence.to_be_bytes(), &offset.to_be_bytes(), &1u32.to_be_bytes()].concat()
    };
    let number = |number: u32| number.to_be_bytes().to_vec();
    let state = [&1u64.to_be_bytes()[..], &[0, 2], &5_000i64.to_be_bytes()].concat();
    let producer = [state, number(1), last, number(2), batch(0, 0, 0), batch(2, 1, 1)].concat();
    [vec![4], 9u64.to_be_bytes().to_vec(), number(1), producer].concat()
}

fn put(disk: &MemDisk, name: &str, bytes: &[u8]) {
    let path = Path::new(DIR).join(name);
    if disk.edit(&path, |file| *file = bytes.to_vec()).is_err() {
        let file = disk.create(&path).expect("memory can be written");
        file.write_all_at(bytes, 0).expect("memory can be written");
        disk.sync_many(&[file]).expect("memory can be synced");
    }
}

/// No loss; one loss; one loss with a pending exchange of files.
fn losses() -> Vec<Vec<u8>> {
    let loss = |start: u64, end: u64| {
        let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
        let ends = [start.to_be_bytes(), end.to_be_bytes(), 5_000i64.to_be_bytes()].concat();
        let texts = [text("root"), text("wrong crc"), text("0-00000000000000000003.lost")].concat();
        [ends, texts, 200u64.to_be_bytes().to_vec(), 7u32.to_be_bytes().to_vec()].concat()
    };
    let number = |number: u32| number.to_be_bytes().to_vec();
    let exchange = [number(1), 0u64.to_be_bytes().to_vec(), number(0), number(0), vec![0; 24]].concat();
    vec![
        [number(0), number(0)].concat(),
        [number(1), loss(3, 5), number(0)].concat(),
        [number(1), loss(0, 9), number(1), exchange].concat(),
    ]
}

fn compaction(input: &[u8]) -> bool {
    check(interrupted(input))
}

/// With or without the files of a pass that copied the first segment.
fn interrupted(input: &[u8]) -> Arc<MemDisk> {
    let mut input = InputReader(input);
    let disk = valid_partition();
    if input.byte() != 0 {
        for name in SEGMENT_FILES.into_iter().take(2) {
            let mut written = Vec::new();
            change(&disk, name, |file| written.clone_from(file));
            put(&disk, &format!("{name}.compacted.tmp"), &written);
        }
    }
    with_small_file(disk, "compaction", (b"GWco", 1), input.0)
}

/// Compacted up to the second segment; and a new first segment: missing, written, and renamed already.
fn compactions() -> Vec<Vec<u8>> {
    let state = |pass: u8, cleaned_end: u64, under_way: u32, bytes: u64| {
        let [cleaned_end, start, end, bytes] = [cleaned_end, 0, 9, bytes].map(u64::to_be_bytes);
        [&[pass][..], &cleaned_end, &under_way.to_be_bytes(), &start, &end, &bytes].concat()
    };
    let bytes = contents(SEGMENT_FILES[0]).len() as u64;
    vec![state(0, 9, 0, 0), state(0, 0, 1, 7), state(1, 0, 1, bytes), state(0, 0, 1, bytes)]
}

/// Replaces a part of a file with the input, with correct CRCs on request.
fn segment(input: &[u8]) -> bool {
    let mut input = InputReader(input);
    let name = SEGMENT_FILES[usize::from(input.byte()) % SEGMENT_FILES.len()];
    let (options, at) = (input.byte(), input.number());
    let disk = valid_partition();
    change(&disk, name, |file| {
        let start = at.min(file.len());
        let end = if options & REPLACE_TO_END != 0 { file.len() } else { file.len().min(start + input.0.len()) };
        file.splice(start..end, input.0.iter().copied());
        if options & KEEP_CRCS == 0 && name.ends_with("log") {
            seal_all(file);
        }
    });
    check(disk)
}

/// Checks that any directory can be verified, and that an opened log can be read and keeps appended records. Returns
/// whether the log opened and accepted an append.
fn check(disk: Arc<MemDisk>) -> bool {
    let _ = grower_storage::verify::verify(&*disk, Path::new(DIR), |_| {});
    let Ok((mut log, _)) = open(&disk) else { return false };
    read_all(&log);
    let end = log.span().end;
    let Ok(appended) = log.append(batch(), LeaderEpoch::new(9), NOW) else { return false };
    assert!(end <= appended.base_offset, "no offset is given twice");
    let point = log.flush_point();
    disk.sync_many(&point.files).expect("memory can be synced");
    log.flushed(&point, Ok(())).expect("a synced log accepts the flush");
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).expect("what was served opens after a crash");
    assert_eq!(log.span().end, appended.next_offset, "what was acknowledged is there");
    let slices = log.reader().read(appended.base_offset, 1 << 20, Offset::MAX).expect("and can be read");
    assert!(!slices.is_empty());
    true
}

/// Reads to the end, and skips ranges reported as damaged.
fn read_all(log: &DiskLog) {
    let (reader, end) = (log.reader(), log.span().end);
    let damaged = reader.damaged();
    let _ = reader.offset_for_time(Timestamp::from_millis(1_001), Offset::MAX);
    let mut from = log.span().start;
    while from < end {
        let next = match reader.read(from, 4096, Offset::MAX) {
            Ok(slices) if slices.is_empty() => break,
            Ok(slices) => {
                for slice in &slices {
                    let _ = BatchReader::new(slice.read().expect("memory can be read")).count();
                }
                slices.last().map_or(end, |slice| slice.offsets().end)
            }
            Err(_) => damaged.iter().find(|range| range.contains(&from)).map_or(end, |range| range.end),
        };
        assert!(from < next, "reading progresses");
        from = next;
    }
}

fn open(
    disk: &Arc<MemDisk>,
) -> Result<(DiskLog, grower_storage::recovery::RecoveryReport), grower_storage::log::OpenError> {
    let location = LogLocation {
        dir: PathBuf::from(DIR),
        topic_id: TopicId::from_bytes([7; 16]),
        partition: PartitionId::new(0),
        cut_dir: Some("/cut".into()),
    };
    DiskLog::open(
        disk.clone(),
        location,
        LogOptions { segment_bytes: 1 << 20, segment_messages: Some(9), ..LogOptions::tiny() },
        NOW,
    )
}

fn batch() -> UnplacedBatch {
    UnplacedBatch::built(samples().swap_remove(0))
}

/// Two segments and all state files.
fn valid_partition() -> Arc<MemDisk> {
    let disk = Arc::new(MemDisk::default());
    let (mut log, _) = open(&disk).expect("a new log opens");
    let limits = BatchLimits {
        batch_bytes_max: 1 << 20,
        plain_bytes_max: 1 << 20,
        timestamp_max: Timestamp::MAX,
        key_required: false,
    };
    for sample in samples() {
        let batch = UnplacedBatch::check(sample, &limits).expect("samples are valid");
        log.append(batch, LeaderEpoch::new(1), NOW).expect("memory can be written");
    }
    log.checkpoint(NOW).expect("memory can be synced");
    disk
}

fn change(disk: &MemDisk, name: &str, how: impl FnOnce(&mut Vec<u8>)) {
    disk.edit(&Path::new(DIR).join(name), how).expect("every file that is changed is there");
}

fn contents(name: &str) -> Vec<u8> {
    let mut contents = Vec::new();
    change(&valid_partition(), name, |file| contents.clone_from(file));
    contents
}

/// The bytes between a state file's header and its CRC.
fn body(file: &[u8]) -> &[u8] {
    file.get(12..file.len().saturating_sub(4)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_opens_and_accepts_an_append() {
        type Check = fn(&[u8]) -> bool;
        let checks: [(Target, Check); 4] = [
            (SMALL_FILE, small_file),
            (SEGMENT, segment),
            (ACCEPTED_LOSSES, accepted_losses),
            (COMPACTION, compaction),
        ];
        for (target, check) in checks {
            for (at, seed) in (target.seeds)().iter().enumerate() {
                assert!(check(seed), "seed {at} of {}", target.name);
            }
        }
    }

    #[test]
    fn no_valid_compaction_state_costs_a_record() {
        let complete = open(&valid_partition()).unwrap().0.span();
        for seed in compactions() {
            let disk = interrupted(&seed);
            let (log, _) = open(&disk).unwrap();
            assert_eq!(log.span(), complete);
            assert_eq!(log.reader().damaged(), []);
            assert!(!disk.files().iter().any(|path| path.to_string_lossy().contains("compacted")), "{seed:?}");
        }
    }
}
