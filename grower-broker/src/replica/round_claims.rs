//! Claims of a partition's sync rounds: at most one round is queued or runs at a time.

/// The state of the sync round, and whether the flush timer is about to claim one.
#[derive(Debug, Default)]
pub(super) struct RoundClaims {
    round: RoundState,
    /// The flush timer has the partition, so that bytes without a waiter are synced as well.
    timer: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RoundState {
    /// No round is queued or runs.
    #[default]
    None,
    /// A round begins later: it covers everything written by now.
    Queued,
    /// A round runs. It may have begun before the last write.
    Running,
}

impl RoundClaims {
    /// Queues a round; `false` if one is queued or runs.
    pub(super) fn claim(&mut self) -> bool {
        let free = self.is_idle();
        if free {
            self.round = RoundState::Queued;
        }
        free
    }

    /// Hands the partition to the flush timer; `false` if what is written by now is synced anyhow.
    pub(super) fn claim_timer(&mut self) -> bool {
        let free = !self.timer && self.round != RoundState::Queued;
        self.timer |= free;
        free
    }

    /// Queues a round for the flush timer, and takes the partition from it; `false` if a round is queued or runs.
    pub(super) fn claim_from_timer(&mut self) -> bool {
        debug_assert!(self.timer, "the flush timer syncs a partition that it was not handed");
        let free = self.claim();
        self.timer &= !free;
        free
    }

    /// Begins the queued round.
    pub(super) fn begin(&mut self) {
        assert_eq!(self.round, RoundState::Queued, "a round begins that is not queued");
        self.round = RoundState::Running;
    }

    /// Ends the running round, and queues the next if it is needed.
    pub(super) fn end(&mut self, next_needed: bool) {
        assert_eq!(self.round, RoundState::Running, "a round ends that has not begun");
        self.round = if next_needed { RoundState::Queued } else { RoundState::None };
    }

    /// Whether no round is queued or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.round == RoundState::None
    }

    /// Whether the flush timer has the partition.
    #[cfg(test)]
    pub(super) fn has_timer(&self) -> bool {
        self.timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flush_timer_has_a_partition_once_until_a_round_is_queued_for_it() {
        let mut claims = RoundClaims::default();
        assert!(claims.claim_timer() && !claims.claim_timer());
        assert!(claims.claim_from_timer());
        assert!(!claims.claim_timer(), "the queued round covers what is written");
        claims.begin();
        assert!(claims.claim_timer(), "the running round may have begun too early");
        assert!(!claims.claim_from_timer() && claims.has_timer());
    }
}
