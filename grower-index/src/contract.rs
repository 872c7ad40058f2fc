//! What every index must do, for the tests of whoever writes one.
//!
//! Panics at the first promise that is broken.

use crate::{
    ENTRY_LENGTH, Entry, Even, GrowingIndex, Mark, NotedBatch, PREFIX_LENGTH, SegmentIndex, Stretch, Wanted, Window,
    Witness,
};

/// Checks the searches of an index that `make` builds of given entries, against a scan of those entries.
pub fn reading(make: impl Fn(&[Entry]) -> Box<dyn SegmentIndex>) {
    for count in [0, 1, 2, 3, 17] {
        let entries: Vec<Entry> = (1..=count).map(sample).collect();
        let index = make(&entries);
        assert_eq!(index.entry_count(), entries.len());
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(index.entry(at), Some(*entry), "entry {at} comes back");
        }
        assert_eq!(index.entry(entries.len()), None, "there is nothing past the end");
        searches_agree(|wanted| index.floor(wanted), &entries);
    }
}

/// Checks an index that grows: what it stores, when it finishes, and that a restored one goes on as if never closed. It is
/// told of each stored entry at once, of each a few entries later, or of none.
pub fn growing(make: impl Fn(u32) -> Box<dyn GrowingIndex>) {
    for told_late_by in [0, 3, usize::MAX] {
        grows(&make, told_late_by);
    }
}

fn grows(make: impl Fn(u32) -> Box<dyn GrowingIndex>, told_late_by: usize) {
    const SEED: u32 = 0xfeed;
    let mut index = make(SEED);
    let mut stored = Vec::new();
    let mut witnessed_from = 0;
    for at in 0..40 {
        let prefix = prefix(at);
        let Some(entry) = index.note(&batch(at, &prefix), at * 50) else { continue };
        judge(&entry, SEED, witnessed_from..=at);
        witnessed_from = at + 1;
        stored.push(entry);
        index.stored(stored.len().saturating_sub(told_late_by));
        assert_eq!(index.entry_count(), stored.len(), "an entry that memory let go of still counts");
    }
    stored.extend(index.finish(4_000));
    let last = *stored.last().expect("finishing speaks for what was noted");
    assert_eq!(Mark::from(last), mark_after(39), "the last entry stands at the end");
    assert_eq!(last.durable_end, 4_000, "a clean stop leaves the durable end");
    assert_eq!(index.finish(4_000), None, "nothing is said twice");
    growing_agrees(&*index, &stored);

    let mut restored = make(SEED);
    stored.iter().for_each(|entry| restored.restore(*entry));
    growing_agrees(&*restored, &stored);
    let prefix = prefix(40);
    let (a, b) = (index.note(&batch(40, &prefix), 4_000), restored.note(&batch(40, &prefix), 4_000));
    assert_eq!(a, b, "a restored index goes on like the one that was closed");
    assert_eq!(index.finish(4_001), restored.finish(4_001));
}

fn judge(entry: &Entry, seed: u32, batches: std::ops::RangeInclusive<u32>) {
    let at = *batches.end();
    assert_eq!(mark_after(at), (*entry).into(), "an entry stands where the noted batch ended");
    assert_eq!(entry.durable_end, at * 50, "an entry says what was known to be durable");
    assert_eq!(entry.max_timestamp, running_max(at), "maxima run");
    assert_eq!(entry.witness, witness(seed, batches.clone()), "a witness covers each batch since the last entry");
    let rising = batches.clone().map(timestamp).is_sorted();
    let honest = [Even::default(), Even { batches: batches.count() as u16, timed: rising }];
    assert!(honest.contains(&entry.even), "batches alike are counted or not mentioned: {:?}", entry.even);
}

/// Searches as the owner of a growing index does, with its file at hand, and once more as if the file could not be read.
fn growing_agrees(index: &dyn GrowingIndex, entries: &[Entry]) {
    let file: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
    searches_agree(
        |wanted| {
            let found = search(index, wanted, &file);
            let blind = search(index, wanted, &[]);
            assert!(blind.start().position <= found.start().position, "without its file it starts no later");
            assert!(blind == found || blind.until.is_none(), "and takes no two entries for neighbours");
            found
        },
        entries,
    );
}

pub(crate) fn search(index: &dyn GrowingIndex, wanted: Wanted, file: &[u8]) -> Stretch {
    match index.window(wanted) {
        Window::Held(entries) => entries.floor(wanted),
        Window::Stored(run) => {
            let bytes = run.bytes();
            assert!(bytes.end.is_multiple_of(ENTRY_LENGTH as u64), "whole entries are read");
            let bytes = bytes.start as usize..bytes.end as usize;
            run.read(file.get(bytes).unwrap_or_default().to_vec()).floor(wanted)
        }
    }
}

fn searches_agree(floor: impl Fn(Wanted) -> Stretch, entries: &[Entry]) {
    let check = |wanted: Wanted| {
        let count = entries.iter().take_while(|entry| wanted.admits(entry)).count();
        let (since, until) = (entries[..count].last().copied(), entries.get(count).copied());
        let found = floor(wanted);
        assert_eq!((found.since, found.start()), (since, since.map_or(Mark::START, Mark::from)), "{wanted:?}");
        assert!(found.until.is_none() || found.until == until, "the entry after {wanted:?}");
    };
    for wanted in (0..6_000).step_by(7).chain([u32::MAX]) {
        check(Wanted::Offset(wanted));
        check(Wanted::Position(wanted));
        check(Wanted::Time(i64::from(wanted) - 1_000));
    }
    check(Wanted::Time(i64::MIN));
}

pub(crate) fn sample(n: u32) -> Entry {
    Entry {
        relative_offset: n * 3,
        position: n * 100,
        max_timestamp: i64::from(n / 2) * 10,
        durable_end: n * 90,
        witness: n,
        witnessed: n.is_multiple_of(2),
        even: Even { batches: n as u16 % 5, timed: 2 < n % 5 },
    }
}

fn prefix(at: u32) -> [u8; PREFIX_LENGTH] {
    [at as u8; PREFIX_LENGTH]
}

fn batch(at: u32, prefix: &[u8; PREFIX_LENGTH]) -> NotedBatch<'_> {
    let end = mark_after(at);
    NotedBatch {
        prefix,
        next_relative_offset: end.relative_offset,
        end: end.position,
        max_timestamp: timestamp(at),
        witnessed: true,
    }
}

fn mark_after(at: u32) -> Mark {
    Mark { relative_offset: (at + 1) * 4, position: (at + 1) * 61 }
}

/// Goes up and down, as producers' clocks do.
fn timestamp(at: u32) -> i64 {
    i64::from(at / 8 * 10) - i64::from(at % 8)
}

fn running_max(at: u32) -> i64 {
    (0..=at).map(timestamp).max().unwrap_or(i64::MIN)
}

fn witness(seed: u32, batches: std::ops::RangeInclusive<u32>) -> u32 {
    let mut witness = Witness::new(seed);
    batches.for_each(|at| witness.add(&prefix(at)));
    witness.take()
}
