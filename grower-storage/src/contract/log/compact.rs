//! Compaction, for logs in files.

use super::LogPromise;
use super::kit::{EPOCH, Kit};
use crate::compaction::{Compaction, CompactionPolicy};
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::Offset;

pub(super) const PROMISES: &[LogPromise] = &[
    a_pass_keeps_the_last_record_of_each_key_and_moves_none,
    a_pass_leaves_alone_what_it_was_not_given,
    an_empty_log_has_nothing_to_compact,
];

const POLICY: CompactionPolicy =
    CompactionPolicy { min_dirty_permille: 0, min_lag_ms: 0, delete_retention_ms: 0, keys_bytes: 1 << 20 };

/// Appends records whose value says their offset, of three keys in turn.
fn fill_keyed(kit: &mut Kit, count: u64) {
    for offset in 0..count {
        let now = kit.now();
        let mut builder = BatchBuilder::new(Codec::None);
        let (key, value) = (format!("key {}", offset % 3), offset.to_string());
        builder.push(&Record { timestamp: now, key: Some(key.into()), value: Some(value.into()), ..Record::default() });
        kit.log.append(UnplacedBatch::built(builder.build(None)), EPOCH, now).expect("a sound batch is appended");
    }
    kit.flush();
}

/// Carries out the pass that is due, if one is.
fn compact(kit: &mut Kit, upto: u64) {
    let now = kit.now();
    let Some(files) = kit.log.files() else { return };
    let Some(pass) = Compaction::due(files, &POLICY, Offset::new(upto), now) else { return };
    let mut pass = pass.survey(&|_| true).expect("a sound log can be surveyed");
    while let Some(done) = pass.step(&|_| true).expect("a sound log can be rewritten") {
        assert!(files.publish(done).expect("nothing stands against publishing"), "the log has not changed");
    }
}

/// Everything from `kept_from` on, and before it a part of what was appended: each record at its own offset.
fn check(kit: &Kit, count: u64, kept_from: u64) {
    assert_eq!(kit.span(), (0, count), "offsets stay taken");
    let found = kit.read(0);
    let all: Vec<String> = (0..count).map(|offset| format!("{offset}:{offset}")).collect();
    assert!(found.iter().all(|record| all.contains(record)) && found.is_sorted_by_key(|record| offset_of(record)));
    for record in &all[kept_from as usize..] {
        assert!(found.contains(record), "{record} is kept");
    }
}

fn offset_of(record: &str) -> u64 {
    record.split_once(':').and_then(|(offset, _)| offset.parse().ok()).expect("the kit says offsets")
}

fn a_pass_keeps_the_last_record_of_each_key_and_moves_none(kit: &mut Kit) {
    fill_keyed(kit, 60);
    for _ in 0..2 {
        compact(kit, 60);
        check(kit, 60, 57);
    }
    assert_eq!(kit.append(&["new"]).base_offset, Offset::new(60));
}

fn a_pass_leaves_alone_what_it_was_not_given(kit: &mut Kit) {
    fill_keyed(kit, 60);
    compact(kit, 20);
    check(kit, 60, 20);
    compact(kit, 0);
    check(kit, 60, 20);
}

fn an_empty_log_has_nothing_to_compact(kit: &mut Kit) {
    compact(kit, 0);
    assert_eq!(kit.span(), (0, 0));
}
