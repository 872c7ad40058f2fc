//! Recent refusals of groups for lack of memory: members that cannot join ask again and again.

use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, RefusedGrowth};
use std::collections::BTreeMap;

/// The time for which a refusal is shown, in milliseconds. A waiting member asks about once a second.
const SHOWN_MS: u64 = 60_000;
/// The largest number of groups: the newest refusals are kept.
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
    /// Notes a refusal of the group if memory was the reason.
    pub(super) fn note(&mut self, group: &GroupId, refusal: Option<&Failure>, at: Timestamp) {
        if let Some(failure) = refusal.filter(|failure| failure.code == ErrorCode::MemoryFull) {
            self.0.insert(group.clone(), MemoryRefusal { at, reason: failure.detail.clone() });
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if GROUPS_MAX < self.0.len()
            && let Some(oldest) = self.0.iter().min_by_key(|(_, refusal)| refusal.at).map(|(group, _)| group.clone())
        {
            self.0.remove(&oldest);
        }
    }

    /// Refusals of the last minute.
    pub(super) fn recent(&self, now: Timestamp) -> Vec<RefusedGrowth> {
        let refused = self.0.iter().map(|(group, refusal)| RefusedGrowth {
            group: group.clone(),
            ago_ms: now.millis_since(refusal.at),
            reason: refusal.reason.clone(),
        });
        refused.filter(|refused| refused.ago_ms <= SHOWN_MS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_shown_for_a_minute_for_the_newest_groups() {
        let mut refusals = MemoryRefusals::default();
        let full = Failure::new(ErrorCode::MemoryFull, "full");
        let group = |number: i64| GroupId::new(&format!("g{number}")).unwrap();
        let at = Timestamp::from_millis;
        for number in 0..=GROUPS_MAX as i64 {
            refusals.note(&group(number), Some(&full), at(number));
        }
        assert_eq!(refusals.recent(at(100)).len(), GROUPS_MAX);
        assert!(refusals.recent(at(100)).iter().all(|refused| refused.group != group(0) && refused.reason == "full"));
        assert_eq!(refusals.recent(at(60_099)).iter().map(|refused| refused.ago_ms).max(), Some(60_000));
        assert_eq!(refusals.recent(at(60_099)).len(), 2);
    }
}
