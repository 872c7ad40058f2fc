//! Descriptors reserved for HTTP, so that health probes are answered although connections to the data port have taken
//! all others.
//!
//! They are open on `/dev/null`. The HTTP server closes one when it cannot accept a connection, and accepts again at
//! once. The data port refuses connections while one is missing that cannot be reopened.

use parking_lot::Mutex;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

/// A scrape and a few probes at a time.
const MOST: usize = 4;

/// The reserved descriptors.
pub(crate) struct HttpDescriptors {
    size: usize,
    held: Mutex<Vec<File>>,
    /// Some may be missing.
    lent: AtomicBool,
}

impl HttpDescriptors {
    /// Opens as many as possible; none without HTTP.
    pub(crate) fn reserve(serves_http: bool) -> Self {
        let size = if serves_http { MOST } else { 0 };
        let kept = Self { size, held: Mutex::default(), lent: AtomicBool::new(true) };
        kept.refill();
        kept
    }

    /// Closes one; false if none is left.
    pub(crate) fn lend(&self) -> bool {
        let mut held = self.held.lock();
        self.lent.store(true, Ordering::Relaxed);
        held.pop().is_some()
    }

    /// Reopens those that are missing; false if some still are.
    pub(crate) fn refill(&self) -> bool {
        if !self.lent.load(Ordering::Relaxed) {
            return true;
        }
        let mut held = self.held.lock();
        while held.len() < self.size {
            let Ok(placeholder) = File::open("/dev/null") else { return false };
            held.push(placeholder);
        }
        self.lent.store(false, Ordering::Relaxed);
        true
    }
}
