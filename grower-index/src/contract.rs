//! The contract suites for implementations of [`SegmentIndex`] and [`GrowingIndex`].
//!
//! Each panics at the first promise that is broken.

use crate::{
    ENTRY_LENGTH, GrowingIndex, HeaderChecksum, IndexEntry, IndexPosition, IndexWindow, IndexedBatch, Interval,
    PREFIX_LENGTH, SearchTarget, SegmentIndex, Uniform,
};

/// Checks the searches of an index that `make` builds of given entries, against a scan of those entries.
pub fn reading(make: impl Fn(&[IndexEntry]) -> Box<dyn SegmentIndex>) {
    for count in [0, 1, 2, 3, 17] {
        let entries: Vec<IndexEntry> = (1..=count).map(sample).collect();
        let index = make(&entries);
        assert_eq!(index.entry_count(), entries.len());
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(index.entry(at), Some(*entry), "entry {at} comes back");
        }
        assert_eq!(index.entry(entries.len()), None, "there is nothing past the end");
        searches_agree(|target| index.floor(target), &entries);
    }
}

/// Checks a growing index: its entries, when it finishes, and that a restored one continues where it was closed. It
/// learns of each stored entry at once, a few entries later, or never.
pub fn growing(make: impl Fn(u32) -> Box<dyn GrowingIndex>) {
    for told_late_by in [0, 3, usize::MAX] {
        check_growing(&make, told_late_by);
    }
}

fn check_growing(make: impl Fn(u32) -> Box<dyn GrowingIndex>, told_late_by: usize) {
    const SEED: u32 = 0xfeed;
    let mut index = make(SEED);
    let mut stored = Vec::new();
    let mut covered_from = 0;
    for at in 0..40 {
        let prefix = prefix(at);
        let Some(entry) = index.note(&batch(at, &prefix), at * 50) else { continue };
        check_entry(&entry, SEED, covered_from..=at);
        covered_from = at + 1;
        stored.push(entry);
        index.stored(stored.len().saturating_sub(told_late_by));
        assert_eq!(index.entry_count(), stored.len(), "an entry that memory let go of still counts");
    }
    stored.extend(index.finish(4_000));
    let last = *stored.last().expect("finish covers the noted batches");
    assert_eq!(IndexPosition::from(last), position_after(39), "the last entry stands at the end");
    assert_eq!(last.durable_end, 4_000, "a clean stop leaves the durable end");
    assert_eq!(index.finish(4_000), None, "nothing is said twice");
    growing_agrees(&*index, &stored);

    let mut restored = make(SEED);
    stored.iter().for_each(|entry| restored.restore(*entry));
    growing_agrees(&*restored, &stored);
    let prefix = prefix(40);
    let (a, b) = (index.note(&batch(40, &prefix), 4_000), restored.note(&batch(40, &prefix), 4_000));
    assert_eq!(a, b, "a restored index continues like the one that was closed");
    assert_eq!(index.finish(4_001), restored.finish(4_001));
}

fn check_entry(entry: &IndexEntry, seed: u32, batches: std::ops::RangeInclusive<u32>) {
    let at = *batches.end();
    assert_eq!(position_after(at), (*entry).into(), "an entry stands where the batch ended");
    assert_eq!(entry.durable_end, at * 50, "an entry says what was known to be durable");
    assert_eq!(entry.max_timestamp, running_max(at), "maxima run");
    assert_eq!(
        entry.header_checksum,
        header_checksum(seed, batches.clone()),
        "a header checksum covers each batch since the last entry"
    );
    let rising = batches.clone().map(timestamp).is_sorted();
    let honest = [Uniform::default(), Uniform { batches: batches.count() as u16, in_time_order: rising }];
    assert!(honest.contains(&entry.uniform), "batches alike are counted or not mentioned: {:?}", entry.uniform);
}

/// Searches as the owner of a growing index does: with its file at hand, and once more as if the file were unreadable.
fn growing_agrees(index: &dyn GrowingIndex, entries: &[IndexEntry]) {
    let file: Vec<u8> = entries.iter().flat_map(IndexEntry::encode).collect();
    searches_agree(
        |target| {
            let found = search(index, target, &file);
            let blind = search(index, target, &[]);
            assert!(blind.start().position <= found.start().position, "without its file it starts no later");
            assert!(blind == found || blind.until.is_none(), "and takes no two entries for neighbours");
            found
        },
        entries,
    );
}

pub(crate) fn search(index: &dyn GrowingIndex, target: SearchTarget, file: &[u8]) -> Interval {
    match index.window(target) {
        IndexWindow::Held(entries) => entries.floor(target),
        IndexWindow::Stored(run) => {
            let bytes = run.bytes();
            assert!(bytes.end.is_multiple_of(ENTRY_LENGTH as u64), "whole entries are read");
            let bytes = bytes.start as usize..bytes.end as usize;
            run.read(file.get(bytes).unwrap_or_default().to_vec()).floor(target)
        }
    }
}

fn searches_agree(floor: impl Fn(SearchTarget) -> Interval, entries: &[IndexEntry]) {
    let check = |target: SearchTarget| {
        let count = entries.iter().take_while(|entry| target.admits(entry)).count();
        let (since, until) = (entries[..count].last().copied(), entries.get(count).copied());
        let found = floor(target);
        assert_eq!(
            (found.since, found.start()),
            (since, since.map_or(IndexPosition::START, IndexPosition::from)),
            "{target:?}"
        );
        assert!(found.until.is_none() || found.until == until, "the entry after {target:?}");
    };
    for target in (0..6_000).step_by(7).chain([u32::MAX]) {
        check(SearchTarget::Offset(target));
        check(SearchTarget::Position(target));
        check(SearchTarget::Time(i64::from(target) - 1_000));
    }
    check(SearchTarget::Time(i64::MIN));
}

pub(crate) fn sample(n: u32) -> IndexEntry {
    IndexEntry {
        relative_offset: n * 3,
        position: n * 100,
        max_timestamp: i64::from(n / 2) * 10,
        durable_end: n * 90,
        header_checksum: n,
        checksummed: n.is_multiple_of(2),
        uniform: Uniform { batches: n as u16 % 5, in_time_order: 2 < n % 5 },
    }
}

fn prefix(at: u32) -> [u8; PREFIX_LENGTH] {
    [at as u8; PREFIX_LENGTH]
}

fn batch(at: u32, prefix: &[u8; PREFIX_LENGTH]) -> IndexedBatch<'_> {
    let end = position_after(at);
    IndexedBatch {
        prefix,
        next_relative_offset: end.relative_offset,
        end: end.position,
        max_timestamp: timestamp(at),
        checksummed: true,
    }
}

fn position_after(at: u32) -> IndexPosition {
    IndexPosition { relative_offset: (at + 1) * 4, position: (at + 1) * 61 }
}

/// Goes up and down, as producers' clocks do.
fn timestamp(at: u32) -> i64 {
    i64::from(at / 8 * 10) - i64::from(at % 8)
}

fn running_max(at: u32) -> i64 {
    (0..=at).map(timestamp).max().unwrap_or(i64::MIN)
}

fn header_checksum(seed: u32, batches: std::ops::RangeInclusive<u32>) -> u32 {
    let mut header_checksum = HeaderChecksum::new(seed);
    batches.for_each(|at| header_checksum.add(&prefix(at)));
    header_checksum.take()
}
