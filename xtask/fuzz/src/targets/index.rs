//! An index file, and the part of it that a growing index reads back.

use super::input_reader::InputReader;
use crate::Target;
use grower_index::{
    ENTRY_LENGTH, GrowingIndex, IndexEntry, IndexPosition, IndexWindow, SearchTarget, SegmentIndex, SparseIndex,
    StoredIndex, Uniform,
};

pub(super) const INDEX: Target = Target {
    name: "index",
    about: "an index file: a search never returns a position after the target",
    run,
    seeds,
    allocates: 1 << 20,
};

pub(super) const INDEX_RUN: Target = Target {
    name: "index-run",
    about: "the run that a growing index reads back: the same, and without it the search starts at the run",
    run: run_read_back,
    seeds: runs,
    allocates: 1 << 20,
};

/// Memory holds one entry of each run of this length.
const RUN: usize = 3;

fn run(input: &[u8]) {
    let mut input = InputReader(input);
    let (sealed, target) = (input.byte() != 0, input.number() as u32);
    let mut bytes = input.0.to_vec();
    if sealed {
        bytes.as_chunks_mut::<ENTRY_LENGTH>().0.iter_mut().for_each(seal);
    }
    let index = StoredIndex::new(bytes);
    for entry in (0..index.entry_count()).filter_map(|at| index.entry(at)) {
        assert_eq!(IndexEntry::decode(&entry.encode()), Ok(entry));
    }
    assert!(index.floor(SearchTarget::Offset(target)).start().relative_offset <= target);
    assert!(index.floor(SearchTarget::Position(target)).start().position <= target);
    let found = index.floor(SearchTarget::Time(target.into())).start();
    let known = (0..index.entry_count()).filter_map(|at| index.entry(at));
    assert!(found.position == 0 || known.into_iter().any(|entry| entry.position == found.position));
}

fn seal(entry: &mut [u8; ENTRY_LENGTH]) {
    let (signed, crc) = entry.split_at_mut(ENTRY_LENGTH - 4);
    crc.copy_from_slice(&crc32fast::hash(signed).to_be_bytes());
}

/// Searches a growing index whose older entries are only in the file, with the input as that file.
fn run_read_back(input: &[u8]) {
    let mut input = InputReader(input);
    let (kind, sealed, at) = (input.byte(), input.byte() != 0, input.number() as u32);
    let target =
        [SearchTarget::Offset(at), SearchTarget::Position(at), SearchTarget::Time(at.into())][usize::from(kind) % 3];
    let mut bytes = input.0.to_vec();
    if sealed {
        bytes.as_chunks_mut::<ENTRY_LENGTH>().0.iter_mut().for_each(seal);
    }
    let IndexWindow::Stored(run) = growing().window(target) else { return };
    let first = entry((run.number() * RUN + 1) as u32);
    let begin = if target.admits(&first) { first.into() } else { IndexPosition::START };
    assert_eq!(run.read(Vec::new()).floor(target).start(), begin);
    let read = run.read(bytes);
    let found = read.floor(target).start();
    match target {
        SearchTarget::Offset(offset) => assert!(found.relative_offset <= offset),
        SearchTarget::Position(position) => assert!(found.position <= position),
        SearchTarget::Time(_) => {
            let mut known = (0..read.entry_count()).filter_map(|at| read.entry(at));
            assert!(found.position == 0 || known.any(|entry| entry.position == found.position));
        }
    }
}

fn growing() -> SparseIndex {
    let mut index = SparseIndex::new(100, 0).in_runs_of(RUN);
    (1..13).for_each(|n| index.restore(entry(n)));
    index
}

/// Correct and wrong bytes.
fn runs() -> Vec<Vec<u8>> {
    let sound: Vec<u8> = (4..7).flat_map(|n| entry(n).encode()).collect();
    vec![
        [&[0, 0, 0, 16][..], &sound].concat(),
        [&[1, 1, 2, 140][..], &sound].concat(),
        [&[2, 1, 0, 55][..], &[7; 99]].concat(),
    ]
}

fn entry(n: u32) -> IndexEntry {
    IndexEntry {
        relative_offset: n * 3,
        position: n * 100,
        max_timestamp: i64::from(n) * 10,
        durable_end: n * 50,
        header_checksum: n,
        checksummed: n != 2,
        uniform: Uniform { batches: n as u16, in_time_order: n != 3 },
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let file: Vec<u8> = (1..6).flat_map(|n| entry(n).encode()).collect();
    vec![[&[1, 0, 9][..], &file].concat(), [&[0, 0, 200][..], &file, &[7; 9]].concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_is_searched_in_the_second_run() {
        for target in [SearchTarget::Offset(16), SearchTarget::Position(652), SearchTarget::Time(55)] {
            let IndexWindow::Stored(run) = growing().window(target) else { panic!("{target:?} is in memory") };
            assert_eq!(run.number(), 1);
        }
    }
}
