//! What is prepared beyond the end of the active segment, so that a sync has less to do. Pure.
//!
//! Bytes that land in room which was only allocated are new to the file system: a sync writes them, and then that their
//! blocks are in use. Bytes that land on zeros which are on the disk already are a write and nothing else, which takes about
//! half of the time. The zeros cost a write of their own. So they pay where syncs that somebody waits for are small and many,
//! and that is looked at again after each stretch: later in one partition than in another, since a thousand that are written
//! in turn would otherwise all be filled at once. A crash leaves zeros where a log may end anyway: recovery knows them as
//! room allocated ahead.

use std::ops::Range;

/// The most that is filled with zeros at a time, in bytes.
const STRETCH: u64 = 128 << 10;
/// Zeros pay where a stretch took so many syncs. Measured: filling one costs as much as two of them gain.
const SYNCS_MIN: u64 = 4;
/// The zeros.
pub(super) static ZEROS: [u8; STRETCH as usize] = [0; STRETCH as usize];

/// How far the file is prepared, and what syncs were like lately. `zeroed <= allocated`.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Where the allocated room ends.
    allocated: u64,
    /// Where the zeros end that were written.
    zeroed: u64,
    /// From where on the syncs are counted.
    since: u64,
    syncs: u32,
    seed: u32,
}

impl Ahead {
    /// For a segment that ends at `position`. Partitions whose seeds differ are filled at different times.
    pub(super) fn new(position: u64, allocated: u64, seed: u32) -> Self {
        Self { allocated, zeroed: 0, since: position, syncs: 0, seed }
    }

    /// Whether there is room beyond `position`.
    pub(super) fn is_beyond(&self, position: u64) -> bool {
        position < self.allocated
    }

    /// The file ends there, or the room does.
    pub(super) fn cut(&mut self, position: u64) {
        self.allocate(position);
        self.zeroed = self.zeroed.min(position);
    }

    /// There is room up to there.
    pub(super) fn allocate(&mut self, end: u64) {
        self.allocated = end;
    }

    /// Something was synced that somebody waited for.
    pub(super) fn synced(&mut self) {
        self.syncs = self.syncs.saturating_add(1);
    }

    /// What shall be filled with zeros before `position..end` is written, the end of the file being `position` and the room
    /// ahead that of one allocation. It is not asked for twice: if that fails, the next stretch may go better.
    pub(super) fn fill(&mut self, position: u64, end: u64, room: u32) -> Option<Range<u64>> {
        let stretch = u64::from(room / 8).min(STRETCH);
        let written = position.saturating_sub(self.since);
        let look_after = stretch / 2 + u64::from(self.seed) % stretch.max(1);
        if end <= self.zeroed || (self.zeroed <= self.since && written < look_after) {
            return None;
        }
        let pays = written * SYNCS_MIN <= u64::from(self.syncs) * stretch;
        let start = position.max(self.zeroed);
        (self.since, self.syncs) = (start, 0);
        let fill = start..(start + stretch).min(self.allocated);
        if !pays || fill.is_empty() {
            return None;
        }
        self.zeroed = fill.end;
        Some(fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u32 = 1 << 20;

    /// Appends so many batches of `bytes` with a sync after each `each`; where zeros were asked for.
    fn fills(seed: u32, batches: u64, bytes: u64, each: u64) -> Vec<Range<u64>> {
        let mut ahead = Ahead::new(0, 64 << 20, seed);
        let mut fills = Vec::new();
        for at in 0..batches {
            fills.extend(ahead.fill(at * bytes, (at + 1) * bytes, ROOM));
            if (at + 1) % each == 0 {
                ahead.synced();
            }
        }
        fills
    }

    #[test]
    fn small_syncs_land_on_zeros_after_half_a_stretch() {
        let half = STRETCH / 2;
        assert_eq!(fills(0, 16, 16 << 10, 1), [half..half + STRETCH, half + STRETCH..half + 2 * STRETCH]);
        assert_eq!(fills(0, 400, 1000, 5).first(), Some(&(66_000..66_000 + STRETCH)));
    }

    #[test]
    fn partitions_that_are_written_in_turn_are_not_filled_at_once() {
        let first = |seed: u32| fills(seed << 14, 16, 16 << 10, 1)[0].start >> 14;
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(first), [4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn large_syncs_get_room_and_no_zeros() {
        assert_eq!(fills(0, 100, 1 << 20, 1), []);
        assert_eq!(fills(0, 1000, 16 << 10, 4), []);
        assert_eq!(fills(0, 1000, 16 << 10, u64::MAX), [], "nobody waits for the disk");
    }

    #[test]
    fn zeros_stay_within_the_room() {
        let mut ahead = Ahead::new(0, STRETCH + 1000, 0);
        (0..SYNCS_MIN).for_each(|_| ahead.synced());
        assert_eq!(ahead.fill(STRETCH, STRETCH + 100, ROOM), Some(STRETCH..STRETCH + 1000));
        (0..SYNCS_MIN).for_each(|_| ahead.synced());
        ahead.cut(STRETCH + 500);
        assert_eq!(ahead.fill(STRETCH + 500, STRETCH + 600, ROOM), None, "there is no room");
    }

    #[test]
    fn nothing_is_filled_that_holds_records() {
        let mut ahead = Ahead::new(0, 64 << 20, 0);
        let mut position = 0;
        for at in 0..5_000_u64 {
            let end = position + 100 + at * 37 % 5_000;
            if let Some(fill) = ahead.fill(position, end, ROOM) {
                assert!(position <= fill.start, "{fill:?} at {position}");
            }
            ahead.synced();
            position = end;
        }
    }
}
