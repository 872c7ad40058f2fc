//! When a heartbeat came, and from whom.

use grower_protocol::ids::Timestamp;

/// What the shell knows of a request beside its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatContext<'a> {
    /// By a clock that never goes back: for timeouts.
    pub at: Timestamp,
    /// By the calendar: for people.
    pub date: Timestamp,
    /// What the program calls itself.
    pub client: Option<&'a str>,
    /// Where it speaks from.
    pub address: Option<&'a str>,
}

/// Who a member was at its newest heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastContact {
    pub(super) client: Option<String>,
    pub(super) address: Option<String>,
    /// When that was.
    pub(super) heard: Timestamp,
}

impl LastContact {
    pub(super) fn hear(&mut self, received: &HeartbeatContext<'_>) {
        self.heard = received.at;
        for (known, said) in [(&mut self.client, received.client), (&mut self.address, received.address)] {
            if known.as_deref() != said {
                *known = said.map(str::to_owned); // Seldom: it is the same from one heartbeat to the next.
            }
        }
    }
}
