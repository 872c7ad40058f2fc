//! Room and zeros beyond the end of the active segment, which make syncs cheaper. Pure.
//!
//! Bytes written into room that is only allocated are new to the file system: a sync writes them, and then that their
//! blocks are in use. Bytes written over zeros that are on the disk already need the first write only, about half the
//! time. The zeros cost a write of their own. So they pay where awaited syncs are small and frequent. That is decided
//! again after each 128 KiB, at a different point in each partition: a thousand partitions that are written in turn
//! would otherwise all be zeroed at once. A crash leaves zeros where a log may end anyway: recovery knows them as
//! allocated room.

use std::ops::Range;

/// The most that is zeroed at a time, in bytes.
const ZEROED_MAX: u64 = 128 << 10;
/// Zeros pay if 128 KiB took at least this many syncs. Measured: zeroing costs as much as two syncs gain.
const SYNCS_MIN: u64 = 4;
/// The zeros to write.
pub(super) static ZEROS: [u8; ZEROED_MAX as usize] = [0; ZEROED_MAX as usize];

/// How far the file is allocated and zeroed, and how often it was synced lately. `zeroed <= allocated`.
#[derive(Debug)]
pub(super) struct Preallocation {
    /// Where the allocated room ends.
    allocated: u64,
    /// Where the written zeros end.
    zeroed: u64,
    /// Where counting syncs began.
    since: u64,
    syncs: u32,
    seed: u32,
}

impl Preallocation {
    /// For a segment that ends at `position`. Partitions with different seeds are zeroed at different times.
    pub(super) fn new(position: u64, allocated: u64, seed: u32) -> Self {
        Self { allocated, zeroed: 0, since: position, syncs: 0, seed }
    }

    /// Whether there is room beyond `position`.
    pub(super) fn is_beyond(&self, position: u64) -> bool {
        position < self.allocated
    }

    /// The file was cut there: so are the room and the zeros.
    pub(super) fn cut(&mut self, position: u64) {
        self.zeroed = self.zeroed.min(position);
        self.allocate(position);
    }

    /// There is room up to there.
    pub(super) fn allocate(&mut self, end: u64) {
        self.allocated = end;
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.zeroed <= self.allocated, "zeros lie within the allocated room");
    }

    /// A sync happened that a producer waited for.
    pub(super) fn synced(&mut self) {
        self.syncs = self.syncs.saturating_add(1);
    }

    /// Returns the range to zero before writing `position..end`, if that pays. The file ends at `position`, and one
    /// allocation reserves `room` bytes. The same range is not returned twice: if zeroing fails, the next range may
    /// succeed.
    pub(super) fn fill(&mut self, position: u64, end: u64, room: u32) -> Option<Range<u64>> {
        let length = u64::from(room / 8).min(ZEROED_MAX);
        let written = position.saturating_sub(self.since);
        let look_after = length / 2 + u64::from(self.seed) % length.max(1);
        if end <= self.zeroed || (self.zeroed <= self.since && written < look_after) {
            return None;
        }
        let pays = written * SYNCS_MIN <= u64::from(self.syncs) * length;
        let start = position.max(self.zeroed);
        (self.since, self.syncs) = (start, 0);
        let fill = start..(start + length).min(self.allocated);
        if !pays || fill.is_empty() {
            return None;
        }
        debug_assert!(position <= fill.start, "records before {position} are never zeroed");
        self.zeroed = fill.end;
        self.check();
        Some(fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u32 = 1 << 20;

    /// Appends `batches` batches of `bytes` with a sync after every `each`. Returns the ranges that were zeroed.
    fn fills(seed: u32, batches: u64, bytes: u64, each: u64) -> Vec<Range<u64>> {
        let mut preallocation = Preallocation::new(0, 64 << 20, seed);
        let mut fills = Vec::new();
        for at in 0..batches {
            fills.extend(preallocation.fill(at * bytes, (at + 1) * bytes, ROOM));
            if (at + 1) % each == 0 {
                preallocation.synced();
            }
        }
        fills
    }

    #[test]
    fn small_syncs_land_on_zeros_after_64_kib() {
        let half = ZEROED_MAX / 2;
        assert_eq!(fills(0, 16, 16 << 10, 1), [half..half + ZEROED_MAX, half + ZEROED_MAX..half + 2 * ZEROED_MAX]);
        assert_eq!(fills(0, 400, 1000, 5).first(), Some(&(66_000..66_000 + ZEROED_MAX)));
    }

    #[test]
    fn partitions_written_in_turn_are_not_zeroed_at_once() {
        let first = |seed: u32| fills(seed << 14, 16, 16 << 10, 1)[0].start >> 14;
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(first), [4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn large_syncs_get_room_and_no_zeros() {
        assert_eq!(fills(0, 100, 1 << 20, 1), []);
        assert_eq!(fills(0, 1000, 16 << 10, 4), []);
        assert_eq!(fills(0, 1000, 16 << 10, u64::MAX), [], "no producer waits for the disk");
    }

    #[test]
    fn zeros_stay_within_the_room() {
        let mut preallocation = Preallocation::new(0, ZEROED_MAX + 1000, 0);
        (0..SYNCS_MIN).for_each(|_| preallocation.synced());
        assert_eq!(preallocation.fill(ZEROED_MAX, ZEROED_MAX + 100, ROOM), Some(ZEROED_MAX..ZEROED_MAX + 1000));
        (0..SYNCS_MIN).for_each(|_| preallocation.synced());
        preallocation.cut(ZEROED_MAX + 500);
        assert_eq!(preallocation.fill(ZEROED_MAX + 500, ZEROED_MAX + 600, ROOM), None, "there is no room");
    }

    #[test]
    fn records_are_never_zeroed() {
        let mut preallocation = Preallocation::new(0, 64 << 20, 0);
        let mut position = 0;
        for at in 0..5_000_u64 {
            let end = position + 100 + at * 37 % 5_000;
            if let Some(fill) = preallocation.fill(position, end, ROOM) {
                assert!(position <= fill.start, "{fill:?} at {position}");
            }
            preallocation.synced();
            position = end;
        }
    }
}
