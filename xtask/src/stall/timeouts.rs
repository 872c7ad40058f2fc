//! The timeouts of the rig's clients: short, so that stalls are longer than each of them.

use std::time::Duration;

pub(super) const CONNECT: Duration = Duration::from_millis(400);
pub(super) const REQUEST: Duration = Duration::from_millis(400);
pub(super) const DELIVERY: Duration = Duration::from_secs(1);
pub(super) const SESSION: Duration = Duration::from_secs(2);

/// How much later than promised a call may end.
pub(super) const TOLERANCE: Duration = Duration::from_millis(300);
