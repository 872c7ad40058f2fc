//! The memory of fetched batches.

use std::ops::{AddAssign, SubAssign};

/// Memory of fetched batches, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldBytes {
    /// The checked batches in the buffer, as sent.
    pub(crate) buffered: usize,
    /// The batches that are being handed out, decompressed.
    pub(crate) open: usize,
}

impl HeldBytes {
    pub(crate) fn total(self) -> usize {
        self.buffered + self.open
    }
}

impl AddAssign for HeldBytes {
    fn add_assign(&mut self, more: Self) {
        self.buffered += more.buffered;
        self.open += more.open;
    }
}

impl SubAssign for HeldBytes {
    fn sub_assign(&mut self, less: Self) {
        self.buffered -= less.buffered;
        self.open -= less.open;
    }
}
