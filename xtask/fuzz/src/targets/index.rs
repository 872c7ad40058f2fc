//! An index file.

use super::pieces::Pieces;
use crate::Target;
use grower_index::{ENTRY_LENGTH, Entry, Even, SegmentIndex, StoredIndex, Wanted};

pub(super) const INDEX: Target = Target {
    name: "index",
    about: "an index file: a search never answers a place after the one asked for",
    run,
    seeds,
    allocates: 1 << 20,
};

fn run(input: &[u8]) {
    let mut pieces = Pieces(input);
    let (sealed, wanted) = (pieces.byte() != 0, pieces.number() as u32);
    let mut bytes = pieces.0.to_vec();
    if sealed {
        bytes.as_chunks_mut::<ENTRY_LENGTH>().0.iter_mut().for_each(seal);
    }
    let index = StoredIndex::new(bytes);
    for entry in (0..index.entry_count()).filter_map(|at| index.entry(at)) {
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }
    assert!(index.floor(Wanted::Offset(wanted)).start().relative_offset <= wanted);
    assert!(index.floor(Wanted::Position(wanted)).start().position <= wanted);
    let found = index.floor(Wanted::Time(wanted.into())).start();
    let known = (0..index.entry_count()).filter_map(|at| index.entry(at));
    assert!(found.position == 0 || known.into_iter().any(|entry| entry.position == found.position));
}

fn seal(entry: &mut [u8; ENTRY_LENGTH]) {
    let (signed, crc) = entry.split_at_mut(ENTRY_LENGTH - 4);
    crc.copy_from_slice(&crc32fast::hash(signed).to_be_bytes());
}

fn seeds() -> Vec<Vec<u8>> {
    let entry = |n: u32| Entry {
        relative_offset: n * 3,
        position: n * 100,
        max_timestamp: i64::from(n) * 10,
        durable_end: n * 50,
        witness: n,
        witnessed: n != 2,
        even: Even { batches: n as u16, timed: n != 3 },
    };
    let file: Vec<u8> = (1..6).flat_map(|n| entry(n).encode()).collect();
    vec![[&[1, 0, 9][..], &file].concat(), [&[0, 0, 200][..], &file, &[7; 9]].concat()]
}
