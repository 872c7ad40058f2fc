//! The last check of stored records after a client reported damage.

use grower_protocol::ids::Offset;
use std::ops::Range;
use std::time::Duration;

/// Offsets whose stored bytes were checked, and since when.
#[derive(Debug)]
pub(crate) struct DamageCheck {
    pub(crate) offsets: Range<Offset>,
    /// When it began, on the monotonic clock.
    pub(crate) began: Duration,
}

impl DamageCheck {
    /// Whether it answers a report that came at this time.
    pub(crate) fn answers(&self, reported: &Range<Offset>, at: Duration) -> bool {
        at <= self.began && self.offsets.start <= reported.start && reported.end <= self.offsets.end
    }
}
