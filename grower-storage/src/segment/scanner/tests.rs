use super::*;
use crate::disk::{Disk, MemDisk};
use grower_index::StoredIndex;
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::LeaderEpoch;
use std::path::Path;

/// A record of this many bytes.
const VALUE: usize = 512;
/// The log end offset.
const END: Offset = Offset::new(3);

/// A batch of one record at this offset.
fn batch(offset: u64, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record { value: Some(value.to_vec().into()), ..Record::default() });
    let batch = UnplacedBatch::built(builder.build(None));
    batch.place(Offset::new(offset), LeaderEpoch::new(1)).bytes().to_vec()
}

/// Three batches of the same length, and that length.
fn log() -> (Vec<u8>, usize) {
    let batches = [0, 1, 2].map(|offset| batch(offset, &[0x5a; VALUE]));
    (batches.concat(), batches[0].len())
}

/// Scans a file that has no index and holds the offsets up to [`END`].
fn check(bytes: &[u8], expected: &[&str]) {
    let disk = MemDisk::default();
    let file = disk.create(Path::new("/0.log")).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    let end = LogPosition { bytes: bytes.len() as u64, offset: END };
    let index = Box::new(StoredIndex::new(Vec::new()));
    let segment = Segment::sealed(Offset::ZERO, FileOnDemand::held(file), index, end, None);
    let mut scanner = Scanner::new(&segment, ScanMode::Content, LogPosition::start_of(Offset::ZERO), end);
    let mut items = Vec::new();
    while let Some(item) = scanner.next_item().unwrap() {
        items.push(match item {
            ScanItem::Batch(found) => format!("batch {} at {:?}", found.header.base_offset, found.bytes),
            ScanItem::Damaged { damage: Damage { bytes, offsets, reason, .. }, zeros } => {
                let kind = if zeros { "zeros" } else { "damaged" };
                format!("{kind} {}..{} at {bytes:?}: {reason}", offsets.start, offsets.end)
            }
        });
    }
    assert_eq!(items, expected);
}

#[test]
fn sound_batches_are_found_in_order() {
    let (bytes, _) = log();
    check(&bytes, &["batch 0 at 0..582", "batch 1 at 582..1164", "batch 2 at 1164..1746"]);
}

#[test]
fn a_flipped_payload_costs_its_batch_alone() {
    let (mut bytes, length) = log();
    bytes[length + HEADER_LENGTH + 9] ^= 1;
    check(
        &bytes,
        &[
            "batch 0 at 0..582",
            "damaged 1..2 at 582..1164: stored crc 0xe2e627a6, computed 0x5f89a65e",
            "batch 2 at 1164..1746",
        ],
    );
}

#[test]
fn a_flipped_length_costs_its_batch_alone() {
    let (mut bytes, length) = log();
    bytes[length + 9] ^= 1;
    check(
        &bytes,
        &[
            "batch 0 at 0..582",
            "damaged 1..2 at 582..1164: a batch of 66118 bytes reaches past the end",
            "batch 2 at 1164..1746",
        ],
    );
}

#[test]
fn a_batch_inside_a_damaged_record_is_no_batch_of_the_log() {
    let mut outer = batch(1, &batch(2, b"inside"));
    outer[20] ^= 1; // In its CRC.
    let bytes = [batch(0, b"first"), outer, batch(2, b"last")].concat();
    check(
        &bytes,
        &[
            "batch 0 at 0..73",
            "damaged 1..2 at 73..217: stored crc 0xa31d6391, computed 0xa31d6390",
            "batch 2 at 217..289",
        ],
    );
}

#[test]
fn zeros_in_the_middle_cost_the_batches_they_replaced() {
    let (mut bytes, length) = log();
    bytes[length..2 * length].fill(0);
    check(&bytes, &["batch 0 at 0..582", "damaged 1..2 at 582..1164: magic is 0, not 2", "batch 2 at 1164..1746"]);
}

#[test]
fn zeros_at_the_end_are_named_as_such() {
    let (mut bytes, _) = log();
    bytes.resize(bytes.len() + 4096, 0);
    check(
        &bytes,
        &[
            "batch 0 at 0..582",
            "batch 1 at 582..1164",
            "batch 2 at 1164..1746",
            "zeros 3..3 at 1746..5842: zeros to the end",
        ],
    );
}

#[test]
fn a_cut_file_lacks_the_offsets_after_its_last_batch() {
    let (bytes, length) = log();
    check(
        &bytes[..2 * length],
        &["batch 0 at 0..582", "batch 1 at 582..1164", "damaged 2..3 at 1164..1164: the file ends early"],
    );
    check(
        &bytes[..2 * length + 100],
        &[
            "batch 0 at 0..582",
            "batch 1 at 582..1164",
            "damaged 2..3 at 1164..1264: a batch of 582 bytes reaches past the end",
        ],
    );
}
