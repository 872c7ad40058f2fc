//! Batches that are sound and stand where others were written.

use crate::log_kit::{self, DIR, World};
use crate::stopped::{Stopped, findings, lost, open, read_one};
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_storage::disk::Disk;
use grower_storage::log::{Log, LogOptions};
use std::path::Path;

#[test]
fn a_sound_batch_in_place_of_another_is_found_by_the_header_checksum() {
    let mut world = World::new(log_kit::options());
    (0..3).for_each(|_| assert!(world.append(1, 30).is_ok()));
    world.log.checkpoint(Default::default()).unwrap();
    let stopped = Stopped::of(&world);
    let at = stopped.batches[0].bytes.len();
    // The same length, offset and epoch, and its CRC is right: the neighbour partition's, by a misdirected write.
    let other = log_kit::batch_of(2, 1, 30, 1, 0).place(Offset::new(1), LeaderEpoch::new(1)).bytes().clone();
    assert_eq!(other.len(), stopped.batches[1].bytes.len());
    let disk = stopped.with_file(&stopped.path("growerlog", 0), |bytes| {
        bytes[at..at + other.len()].copy_from_slice(&other);
    });
    assert_eq!(findings(&disk).len(), 1);
    let log = open(&disk);
    assert!(log.reader().check(log.span()).is_err());
    assert_eq!(lost(&log, &stopped), [1]);
}

#[test]
fn a_batch_inside_a_record_is_never_taken_for_one_of_the_log() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..log_kit::options() });
    let inner = log_kit::batch_of(3, 1, 30, 0, 0).place(Offset::new(1), LeaderEpoch::new(1));
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record { value: Some(inner.bytes().clone()), ..Record::default() });
    let outer = UnplacedBatch::built(builder.build(None));
    world.log.append(outer, LeaderEpoch::new(1), Default::default()).unwrap();
    let second = world.log.append(log_kit::batch(1, 30, 0, 0), LeaderEpoch::new(1), Default::default()).unwrap();
    world.log.append(log_kit::batch(1, 30, 1, 0), LeaderEpoch::new(1), Default::default()).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    let before = read_one(&world.log, second.base_offset.value()).unwrap();
    let disk = world.memory.clone();
    let path = Path::new(DIR).join("00000000000000000000.growerlog");
    disk.edit(&path, |bytes| bytes[16] ^= 1).unwrap();
    // Without its index nothing but the end of the file says where batches end.
    for path in [None, Some(path.with_extension("growerindex"))] {
        if let Some(path) = path {
            disk.remove_file(&path).unwrap();
        }
        let log = open(&disk);
        assert_eq!(read_one(&log, 0), None);
        assert_eq!(read_one(&log, 1), Some(before.clone()));
    }
}
