//! Common properties of the batches between two index entries.

/// The most that an entry has room for.
const BATCHES_MAX: u32 = (1 << 14) - 1;

/// Lets a reader go straight to one batch of an interval instead of scanning from its start. A hint: the reader
/// validates the batch it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uniform {
    /// How many batches the interval has, if all have one length and one number of offsets; else 0.
    pub batches: u16,
    /// Whether the maximum timestamps of the batches never fall, either.
    pub in_time_order: bool,
}

impl Uniform {
    /// Bit 1 and bits 2..16 of an entry's flags. Earlier programs left them 0: nothing is known.
    pub(crate) fn flags(self) -> u16 {
        debug_assert!(u32::from(self.batches) <= BATCHES_MAX, "an entry has room for the count");
        self.batches << 2 | u16::from(self.in_time_order) << 1
    }

    pub(crate) fn from_flags(flags: u16) -> Self {
        Self { batches: flags >> 2, in_time_order: flags & 2 != 0 }
    }
}

/// Compares batches as they come.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    batches: u32,
    first: (u32, u32),
    differing: bool,
    out_of_time_order: bool,
    latest: i64,
}

impl Comparison {
    /// Adds the next batch: its length, how many offsets it has, and its maximum timestamp.
    pub(crate) fn add(&mut self, length: u32, offsets: u32, max_timestamp: i64) {
        if self.batches == 0 {
            (self.first, self.latest) = ((length, offsets), max_timestamp);
        }
        self.differing |= self.first != (length, offsets);
        self.out_of_time_order |= max_timestamp < self.latest;
        self.latest = max_timestamp;
        self.batches = self.batches.saturating_add(1);
    }

    /// Returns the result and starts over for the next interval.
    pub(crate) fn take(&mut self) -> Uniform {
        let done = std::mem::take(self);
        let batches = u16::try_from(done.batches).ok().filter(|_| !done.differing && done.batches <= BATCHES_MAX);
        let batches = batches.unwrap_or(0);
        Uniform { batches, in_time_order: 0 < batches && !done.out_of_time_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(batches: &[(u32, u32, i64)]) -> (u16, bool) {
        let mut comparison = Comparison::default();
        batches.iter().for_each(|(length, offsets, time)| comparison.add(*length, *offsets, *time));
        let uniform = comparison.take();
        assert_eq!(comparison.take(), Uniform::default(), "nothing is left for the next interval");
        assert_eq!(Uniform::from_flags(uniform.flags()), uniform);
        (uniform.batches, uniform.in_time_order)
    }

    #[test]
    fn batches_of_one_length_and_one_count_are_uniform() {
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
