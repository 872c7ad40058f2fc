//! Log files that are missing or too short: their offsets stay lost, and are never given to other records.

use super::log_kit::{DIR, World, batch, options};
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_storage::log::Log;
use std::path::{Path, PathBuf};

/// Segments of a few batches each, all of it written down as durable; the base offset of the last.
fn three_segments() -> (World, PathBuf) {
    let mut world = World::new(options());
    while world.log.reader().segments().len() < 3 {
        world.append(1, 60).unwrap();
    }
    world.append(1, 60).unwrap();
    assert!(world.flush());
    world.log.checkpoint(Default::default()).unwrap();
    let last = world.log.reader().segments().last().unwrap().base_offset;
    (world, Path::new(DIR).join(format!("{:020}.growerlog", last.value())))
}

#[test]
fn records_missing_at_a_start_are_still_missing_after_a_clean_stop() {
    let without_log = |world: &World, last: &Path| world.disk.remove_file(last).unwrap();
    let without_both = |world: &World, last: &Path| {
        world.disk.remove_file(last).unwrap();
        world.disk.remove_file(&last.with_extension("growerindex")).unwrap();
    };
    let cut_short = |world: &World, last: &Path| {
        let half = world.batches.last().unwrap().bytes.len();
        world.memory.edit(last, |bytes| bytes.truncate(half)).unwrap();
    };
    let losses: [fn(&World, &Path); 3] = [without_log, without_both, cut_short];
    for (loss, lose) in losses.into_iter().enumerate() {
        let (mut world, last) = three_segments();
        let end = world.log.span().end;
        lose(&world, &last);
        let found = world.kill().damaged.into_iter().map(|range| range.offsets).collect::<Vec<_>>();
        assert_eq!(found.last().map(|lost| lost.end), Some(end), "loss {loss}");
        for _ in 0..2 {
            world.log.checkpoint(Default::default()).unwrap();
            let again = world.kill().damaged.into_iter().map(|range| range.offsets).collect::<Vec<_>>();
            assert_eq!((world.log.span().end, &again), (end, &found), "loss {loss}");
        }
        let sequence = world.batches.iter().map(|batch| batch.source.0 as i32).sum();
        let appended = world.log.append(batch(1, 30, sequence, 0), LeaderEpoch::new(2), Default::default()).unwrap();
        assert_eq!(appended.base_offset, end, "loss {loss}");
    }
}

#[test]
fn the_log_start_stays_at_or_below_the_durable_end_when_lost_records_are_trimmed() {
    let mut world = World::new(options());
    while world.log.reader().segments().len() < 3 {
        world.append(1, 60).unwrap();
    }
    (0..2).for_each(|_| assert!(world.append(1, 60).is_ok()));
    assert!(world.flush());
    let end = world.log.span().end;
    let last = world.log.reader().segments().last().unwrap().base_offset;
    // No checkpoint tells where the log ended, only the index of the lost file.
    world.disk.remove_file(&Path::new(DIR).join(format!("{:020}.growerlog", last.value()))).unwrap();
    let lost = world.kill().damaged.pop().unwrap().offsets;
    assert_eq!(world.log.span().end, end);
    assert!(last.value() + 1 < end.value(), "the last segment has several records");
    for start in [last.value() + 1, end.value()].map(Offset::new) {
        world.log.trim(start).unwrap();
        assert_eq!(world.log.span(), start..end);
        assert!(start <= world.log.durable_end(), "{start} <= {}", world.log.durable_end());
    }
    assert_eq!(lost, last..end);
}

#[test]
fn a_log_without_segments_is_durable_to_its_end_whatever_its_checkpoint_says() {
    let mut world = World::new(options());
    world.append(3, 30).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    let segment_files = ["growerlog", "growerindex"].map(|kind| Path::new(DIR).join(format!("{:020}.{kind}", 0)));
    segment_files.iter().for_each(|file| world.disk.remove_file(file).unwrap());
    let edit = |bytes: &mut Vec<u8>| {
        bytes[12..20].copy_from_slice(&3_u64.to_be_bytes()); // The log start.
        bytes[20..28].copy_from_slice(&1_u64.to_be_bytes()); // The durable end.
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_be_bytes());
    };
    world.memory.edit(&Path::new(DIR).join("checkpoint"), edit).unwrap();
    world.kill();
    let three = Offset::new(3);
    assert_eq!((world.log.span(), world.log.durable_end()), (three..three, three));
}
