//! Groups that could not grow of late, for want of memory: members that wait to join ask again and again.

use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, RefusedGrowth};
use std::collections::BTreeMap;

/// For how long a refusal is told, in milliseconds. Who waits asks again about each second.
const TOLD_MS: u64 = 60_000;
/// More groups than this are not remembered: the newest are.
const GROUPS_MAX: usize = 100;

/// The newest refusal of each group.
#[derive(Debug, Default)]
pub(super) struct MemoryRefusals(BTreeMap<GroupId, MemoryRefusal>);

#[derive(Debug)]
struct MemoryRefusal {
    at: Timestamp,
    reason: String,
}

impl MemoryRefusals {
    /// Takes note if a step of the group was refused for want of memory.
    pub(super) fn note(&mut self, group: &GroupId, refusal: Option<&Failure>, at: Timestamp) {
        if let Some(failure) = refusal.filter(|failure| failure.code == ErrorCode::MemoryFull) {
            self.0.insert(group.clone(), MemoryRefusal { at, reason: failure.detail.clone() });
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if GROUPS_MAX < self.0.len()
            && let Some(oldest) = self.0.iter().min_by_key(|(_, refusal)| refusal.at).map(|(group, _)| group.clone())
        {
            self.0.remove(&oldest);
        }
    }

    /// Those of the last minute.
    pub(super) fn of_late(&self, now: Timestamp) -> Vec<RefusedGrowth> {
        let refused = self.0.iter().map(|(group, refusal)| RefusedGrowth {
            group: group.clone(),
            ago_ms: now.millis_since(refusal.at),
            reason: refusal.reason.clone(),
        });
        refused.filter(|refused| refused.ago_ms <= TOLD_MS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_for_a_minute_and_of_the_newest_groups() {
        let mut refusals = MemoryRefusals::default();
        let full = Failure::new(ErrorCode::MemoryFull, "full");
        let group = |number: i64| GroupId::new(&format!("g{number}")).unwrap();
        let at = Timestamp::from_millis;
        for number in 0..=GROUPS_MAX as i64 {
            refusals.note(&group(number), Some(&full), at(number));
        }
        assert_eq!(refusals.of_late(at(100)).len(), GROUPS_MAX);
        assert!(refusals.of_late(at(100)).iter().all(|refused| refused.group != group(0) && refused.reason == "full"));
        assert_eq!(refusals.of_late(at(60_099)).iter().map(|refused| refused.ago_ms).max(), Some(60_000));
        assert_eq!(refusals.of_late(at(60_099)).len(), 2);
    }
}
