//! Reading: whole batches, limits, lookups.

use super::LogPromise;
use super::kit::{EPOCH, Kit, batch};
use crate::log::ReadError;
use grower_protocol::ids::{Offset, Timestamp};

pub(super) const PROMISES: &[LogPromise] = &[
    a_read_begins_with_the_batch_that_holds_the_offset,
    a_read_gives_whole_batches_and_at_least_one,
    a_read_never_passes_its_bound,
    outside_the_log_is_an_error,
    a_read_continues_through_segments,
    a_reader_sees_what_is_appended_later,
    a_slice_outlives_the_removal_of_its_segment,
    a_time_finds_its_first_record,
    checking_a_sound_log_finds_nothing,
];

fn a_read_begins_with_the_batch_that_holds_the_offset(kit: &mut Kit) {
    kit.append(&["a", "b", "c"]);
    kit.append(&["d"]);
    assert_eq!(kit.read_once(1, 1, 9).unwrap(), ["0:a", "1:b", "2:c"]);
    assert_eq!(kit.read_once(3, 1, 9).unwrap(), ["3:d"]);
}

fn a_read_gives_whole_batches_and_at_least_one(kit: &mut Kit) {
    kit.fill(4);
    let size = kit.log.reader().segments()[0].bytes as usize / 4;
    assert_eq!(kit.read_once(0, 0, 9).unwrap().len(), 1);
    assert_eq!(kit.read_once(0, 2 * size - 1, 9).unwrap().len(), 1);
    assert_eq!(kit.read_once(0, 2 * size, 9).unwrap().len(), 2);
    assert_eq!(kit.read_once(1, 3 * size, 9).unwrap().len(), 3);
}

fn a_read_never_passes_its_bound(kit: &mut Kit) {
    kit.append(&["a", "b"]);
    kit.append(&["c", "d"]);
    assert_eq!(kit.read_once(0, 1 << 20, 4).unwrap().len(), 4);
    assert_eq!(kit.read_once(0, 1 << 20, 3).unwrap().len(), 2, "a batch that reaches past the bound is left out");
    assert_eq!(kit.read_once(0, 1 << 20, 2).unwrap().len(), 2);
    assert_eq!(kit.read_once(0, 1 << 20, 0).unwrap().len(), 0);
    assert_eq!(kit.read_once(2, 1 << 20, 2).unwrap().len(), 0);
}

fn outside_the_log_is_an_error(kit: &mut Kit) {
    kit.fill(12);
    kit.log.trim(Offset::new(2)).unwrap();
    let out = |result| matches!(result, Err(ReadError::OffsetOutOfRange { .. }));
    assert!(out(kit.read_once(1, 1, 12)));
    assert!(out(kit.read_once(13, 1, 12)));
    assert_eq!(kit.read_once(12, 1, 12).unwrap().len(), 0, "at the end there is nothing yet");
    assert_eq!(kit.read(2).first().map(String::as_str), Some("2:2"));
}

fn a_read_continues_through_segments(kit: &mut Kit) {
    kit.fill(30);
    assert!(2 < kit.log.reader().segments().len());
    assert_eq!(kit.read(0).len(), 30);
    for from in 0..30 {
        assert_eq!(kit.read(from).len(), 30 - from as usize, "from {from}");
        assert_eq!(kit.read_once(from, 1, 30).unwrap(), [format!("{from}:{from}")]);
    }
    assert_eq!(kit.read_once(0, 1 << 20, 30).unwrap().len(), 30, "one read crosses segments");
}

fn a_reader_sees_what_is_appended_later(kit: &mut Kit) {
    let reader = kit.log.reader();
    kit.fill(20);
    assert_eq!(reader.span(), Offset::ZERO..Offset::new(20));
    assert_eq!(reader.read(Offset::new(19), 1, Offset::MAX).unwrap().len(), 1);
}

fn a_slice_outlives_the_removal_of_its_segment(kit: &mut Kit) {
    kit.fill(30);
    let slices = kit.log.reader().read(Offset::ZERO, 1, Offset::MAX).unwrap();
    kit.log.trim(Offset::new(25)).unwrap();
    let bytes = slices[0].read().unwrap();
    assert_eq!(bytes.len(), slices[0].len());
    let mut tail = [0; 5];
    assert_eq!(slices[0].read_into(&mut tail, bytes.len() - 3).unwrap(), 3);
    assert_eq!(tail[..3], bytes[bytes.len() - 3..]);
}

fn a_time_finds_its_first_record(kit: &mut Kit) {
    for (at, millis) in [30, 10, 20, 50, 40, 70, 60, 80, 90, 100].into_iter().enumerate() {
        let batch = batch(&["a", "b"], Timestamp::from_millis(millis), None);
        let appended = kit.log.append(batch, EPOCH, kit.now()).unwrap();
        assert_eq!(appended.base_offset.value(), 2 * at as u64);
    }
    let find = |kit: &Kit, millis, upto| {
        let found = kit.log.reader().offset_for_time(Timestamp::from_millis(millis), Offset::new(upto)).unwrap();
        found.map(|found| (found.offset.value(), found.timestamp.as_millis()))
    };
    assert_eq!(find(kit, 0, 20), Some((0, 30)));
    assert_eq!(find(kit, 31, 20), Some((6, 50)));
    assert_eq!(find(kit, 61, 20), Some((10, 70)));
    assert_eq!(find(kit, 100, 20), Some((18, 100)));
    assert_eq!(find(kit, 101, 20), None);
    assert_eq!(find(kit, 100, 18), None, "what is not committed yet is not found");
    kit.log.trim(Offset::new(7)).unwrap();
    assert_eq!(find(kit, 31, 20), Some((7, 50)), "nor what is before the log start");
}

fn checking_a_sound_log_finds_nothing(kit: &mut Kit) {
    kit.fill(30);
    kit.log.reader().check(Offset::ZERO..Offset::new(30)).unwrap();
    kit.log.reader().check(Offset::new(7)..Offset::new(8)).unwrap();
}
