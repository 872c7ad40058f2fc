//! Choices that a printed seed repeats.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::ops::Range;
use std::time::Duration;

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    /// Seeded by the variable `GROWER_SEED`, else by the system. Prints the seed.
    pub(crate) fn new() -> Self {
        let given = std::env::var("GROWER_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().unwrap_or(1));
        eprintln!("GROWER_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }

    /// One case in `cases`.
    pub(crate) fn one_in(&mut self, cases: u64) -> bool {
        self.within(0..cases) == 0
    }

    pub(crate) fn micros(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.within(range))
    }
}
