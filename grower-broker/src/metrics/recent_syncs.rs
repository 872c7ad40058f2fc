//! The exact durations of the latest syncs: a histogram since the start does not show the present.

use grower_protocol::message::FsyncDescription;
use std::array::from_fn;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const KEPT: usize = 512;

/// The latest durations, in a ring that any thread may write to.
#[derive(Debug)]
pub(crate) struct RecentSyncs {
    count: AtomicU64,
    micros: [AtomicU32; KEPT],
}

impl Default for RecentSyncs {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), micros: from_fn(|_| AtomicU32::new(0)) }
    }
}

impl RecentSyncs {
    pub(super) fn note(&self, took: Duration) {
        let at = self.count.fetch_add(1, Ordering::Relaxed) as usize % KEPT;
        self.micros[at].store(u32::try_from(took.as_micros()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn describe(&self) -> FsyncDescription {
        let count = self.count.load(Ordering::Relaxed);
        let kept = usize::try_from(count).unwrap_or(KEPT).min(KEPT);
        let mut micros: Vec<u64> = self.micros[..kept].iter().map(|m| m.load(Ordering::Relaxed).into()).collect();
        micros.sort_unstable();
        let of_100 = |part: usize| micros.get((kept * part).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        FsyncDescription { count, p50_micros: of_100(50), p99_micros: of_100(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_syncs_count() {
        let recent = RecentSyncs::default();
        assert_eq!(recent.describe(), FsyncDescription::default());
        (0..2 * KEPT).for_each(|_| recent.note(Duration::from_secs(9)));
        (1..=KEPT as u64).for_each(|micros| recent.note(Duration::from_micros(micros)));
        assert_eq!(recent.describe(), FsyncDescription { count: 1_536, p50_micros: 256, p99_micros: 507 });
    }
}
