//! Log files that are missing or too short: their offsets stay lost, and are never given to other records.

use super::log_kit::{DIR, World, batch, options};
use grower_protocol::ids::LeaderEpoch;
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
