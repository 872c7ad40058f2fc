//! One partition's turn: it ends after [`TURN`] records, at a gap or an error, or at the call's limits.

use super::TakeLimits;
use super::totals::ConsumerTotals;
use crate::consumer::settings::OnDamage;
use crate::consumer::state::partition::{CallNumber, PartitionFetchState, PartitionItem};
use crate::error::ConsumeError;
use crate::gap::Gap;
use crate::record::ConsumerRecord;
use tokio::time::Instant;

/// The number of records in a partition's turn.
pub(super) const TURN: usize = 500;

/// The end of a partition's turn.
pub(super) enum TurnEnd {
    /// The partition has no more records now, or its turn is over.
    NothingLeft,
    /// The partition is at a gap.
    Gap(Gap),
    /// The call has reached its limits.
    LimitReached,
}

/// The part of a turn that belongs to one call.
pub(super) struct PartitionTurn<'a> {
    pub(super) partition: &'a mut PartitionFetchState,
    pub(super) call: CallNumber,
    pub(super) on_damage: OnDamage,
    pub(super) clock: &'a dyn Fn() -> Instant,
    /// With an open batch above this size, the turn lasts until the batch ends.
    pub(super) open_bytes_free: usize,
    /// The records of the turn that are left.
    pub(super) turn_left: &'a mut usize,
    pub(super) totals: &'a mut ConsumerTotals,
    /// The limits of the call that are left.
    pub(super) limits: &'a mut TakeLimits,
}

impl PartitionTurn<'_> {
    /// Takes records. An error or a gap comes alone: the next call reports it if this one has records.
    pub(super) fn run(self, into: &mut Vec<ConsumerRecord>) -> Result<TurnEnd, ConsumeError> {
        while !self.is_over() {
            if self.is_at_limit(!into.is_empty()) {
                return Ok(TurnEnd::LimitReached);
            }
            match self.partition.next(self.call, self.on_damage, self.clock) {
                Some(PartitionItem::Record(record, bytes)) => {
                    self.totals.count(&record);
                    into.push(record);
                    self.limits.records -= 1;
                    self.limits.bytes = self.limits.bytes.saturating_sub(bytes);
                    *self.turn_left = self.turn_left.saturating_sub(1);
                }
                Some(PartitionItem::Error(error)) if into.is_empty() => return Err(error),
                Some(PartitionItem::Error(error)) => {
                    self.partition.set_error(error);
                    break;
                }
                None if into.is_empty() => {
                    return Ok(self.partition.take_gap().map_or(TurnEnd::NothingLeft, TurnEnd::Gap));
                }
                None => break,
            }
        }
        Ok(TurnEnd::NothingLeft)
    }

    /// Whether all records of the turn are taken, and the open batch, if any, is small enough to stay open.
    fn is_over(&self) -> bool {
        let open = self.partition.open_bytes();
        *self.turn_left == 0 && (open == 0 || open <= self.open_bytes_free)
    }

    /// Whether the next record would pass a limit. Records of a batch that the call keeps anyway cost no bytes.
    fn is_at_limit(&self, has_records: bool) -> bool {
        let keeps_more = !self.partition.is_counted_in(self.call);
        self.limits.records == 0 || self.limits.bytes == 0 && keeps_more && has_records
    }
}
