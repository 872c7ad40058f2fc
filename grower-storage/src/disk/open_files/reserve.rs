//! A reserve of descriptors for log files, so that connections cannot take the last ones.
//!
//! They are open on `/dev/null`: so no count can be wrong, and no other part of the process can take them. An open
//! that finds none left gets one of these. They are taken again as soon as others are closed.

use parking_lot::Mutex;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
pub(super) struct DescriptorReserve {
    size: AtomicUsize,
    /// How many of `size` are given away; zero most of the time.
    missing: AtomicUsize,
    held: Mutex<Vec<File>>,
}

impl DescriptorReserve {
    /// Takes up to `most` descriptors, as many as there are.
    pub(super) fn take(&self, most: usize) {
        let mut held = self.held.lock();
        fill(&mut held, most);
        self.size.store(held.len(), Ordering::Relaxed);
        self.missing.store(0, Ordering::Relaxed);
        self.check(&held);
    }

    /// Gives one away; false if none is left.
    pub(super) fn give(&self) -> bool {
        let mut held = self.held.lock();
        let given = held.pop().is_some();
        self.missing.fetch_add(usize::from(given), Ordering::Relaxed);
        self.check(&held);
        given
    }

    /// Checks that each descriptor is held or missing. The lock of `held` guards both counts.
    fn check(&self, held: &[File]) {
        let missing = self.missing.load(Ordering::Relaxed);
        debug_assert_eq!(held.len() + missing, self.size.load(Ordering::Relaxed), "each descriptor is held or missing");
    }

    /// Takes back what was given away, as far as that goes; how many are missing then, of how many.
    pub(super) fn refill(&self) -> (usize, usize) {
        let size = self.size.load(Ordering::Relaxed);
        if self.missing.load(Ordering::Relaxed) == 0 {
            return (0, size);
        }
        let mut held = self.held.lock();
        fill(&mut held, size);
        let missing = size - held.len();
        self.missing.store(missing, Ordering::Relaxed);
        self.check(&held);
        (missing, size)
    }
}

fn fill(held: &mut Vec<File>, size: usize) {
    while held.len() < size
        && let Ok(placeholder) = File::open("/dev/null")
    {
        held.push(placeholder);
    }
}
