//! Facts about a heartbeat that are not in its message: its time and its sender.

use grower_protocol::ids::Timestamp;

/// The time and the sender of a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatContext<'a> {
    /// Monotonic time, for timeouts.
    pub steady: Timestamp,
    /// Wall-clock time, for people.
    pub wall: Timestamp,
    /// The client program's name for itself.
    pub client: Option<&'a str>,
    /// The client's address.
    pub address: Option<&'a str>,
}

/// The sender and the time of a member's newest heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastContact {
    pub(super) client: Option<String>,
    pub(super) address: Option<String>,
    /// Monotonic time.
    pub(super) at: Timestamp,
}

impl LastContact {
    pub(super) fn note(&mut self, context: &HeartbeatContext<'_>) {
        self.at = context.steady;
        for (known, said) in [(&mut self.client, context.client), (&mut self.address, context.address)] {
            if known.as_deref() != said {
                *known = said.map(str::to_owned); // Rare: consecutive heartbeats have the same sender.
            }
        }
    }
}
