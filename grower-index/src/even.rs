//! What the batches between two entries have in common.

/// The most that an entry has room for.
const BATCHES_MAX: u32 = (1 << 14) - 1;

/// Lets a reader go straight to one batch of a stretch, where otherwise it goes through all before it. A hint, like the
/// position of an entry: whoever follows it looks at what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Even {
    /// How many batches the stretch has, if all are of one length and one number of offsets; else 0.
    pub batches: u16,
    /// Whether, besides, none has an earlier maximum timestamp than the one before it in the stretch.
    pub timed: bool,
}

impl Even {
    /// As bits 1..16 of an entry's flags. In entries of earlier programs they are 0: nothing is known.
    pub(crate) fn flags(self) -> u16 {
        self.batches << 2 | u16::from(self.timed) << 1
    }

    pub(crate) fn from_flags(flags: u16) -> Self {
        Self { batches: flags >> 2, timed: flags & 2 != 0 }
    }
}

/// Compares batches as they come.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    batches: u32,
    first: (u32, u32),
    uneven: bool,
    untimed: bool,
    latest: i64,
}

impl Comparison {
    /// Takes in the next batch: its length, how many offsets it has, and its maximum timestamp.
    pub(crate) fn add(&mut self, length: u32, offsets: u32, max_timestamp: i64) {
        if self.batches == 0 {
            (self.first, self.latest) = ((length, offsets), max_timestamp);
        }
        self.uneven |= self.first != (length, offsets);
        self.untimed |= max_timestamp < self.latest;
        self.latest = max_timestamp;
        self.batches = self.batches.saturating_add(1);
    }

    /// What came out; starts afresh for the stretch after it.
    pub(crate) fn take(&mut self) -> Even {
        let done = std::mem::take(self);
        let batches = u16::try_from(done.batches).ok().filter(|_| !done.uneven && done.batches <= BATCHES_MAX);
        let batches = batches.unwrap_or(0);
        Even { batches, timed: 0 < batches && !done.untimed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(batches: &[(u32, u32, i64)]) -> (u16, bool) {
        let mut comparison = Comparison::default();
        batches.iter().for_each(|(length, offsets, time)| comparison.add(*length, *offsets, *time));
        let even = comparison.take();
        assert_eq!(comparison.take(), Even::default(), "nothing is left for the next stretch");
        assert_eq!(Even::from_flags(even.flags()), even);
        (even.batches, even.timed)
    }

    #[test]
    fn a_stretch_is_even_if_all_its_batches_are_alike() {
        assert_eq!(check(&[]), (0, false));
        assert_eq!(check(&[(170, 1, 5), (170, 1, 5), (170, 1, 9)]), (3, true));
        assert_eq!(check(&[(170, 1, 5), (171, 1, 6), (170, 1, 9)]), (0, false), "one is longer");
        assert_eq!(check(&[(170, 1, 5), (170, 1, 6), (170, 2, 9)]), (0, false), "one has more offsets");
        assert_eq!(check(&[(170, 4, 5), (170, 4, 9), (170, 4, 8)]), (3, false), "one is earlier");
    }

    #[test]
    fn more_batches_than_there_is_room_for_are_not_counted() {
        let many = |count: u32| vec![(61, 1, 0); count as usize];
        assert_eq!(check(&many(BATCHES_MAX)), (16_383, true));
        assert_eq!(check(&many(BATCHES_MAX + 1)), (0, false));
        assert_eq!(check(&many(1 << 16)), (0, false));
    }
}
