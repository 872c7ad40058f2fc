//! Descriptors that are kept for HTTP, so that a probe of the broker's health is answered although connections to the data
//! port have taken all others.
//!
//! They are open, on nothing. The HTTP server closes one when it cannot accept a connection, and accepts it at once. The data
//! port keeps no connection while one is missing that cannot be taken back.

use parking_lot::Mutex;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

/// A scrape and a few probes at a time.
const MOST: usize = 4;

/// The kept descriptors.
pub(crate) struct HttpDescriptors {
    size: usize,
    held: Mutex<Vec<File>>,
    /// One may be missing.
    lent: AtomicBool,
}

impl HttpDescriptors {
    /// Takes as many as can be had; none without HTTP.
    pub(crate) fn keep(serves_http: bool) -> Self {
        let size = if serves_http { MOST } else { 0 };
        let kept = Self { size, held: Mutex::default(), lent: AtomicBool::new(true) };
        kept.refill();
        kept
    }

    /// Frees one; false if none is left.
    pub(crate) fn lend(&self) -> bool {
        let mut held = self.held.lock();
        self.lent.store(true, Ordering::Relaxed);
        held.pop().is_some()
    }

    /// Takes back what is missing; false if some still is.
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
