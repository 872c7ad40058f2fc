//! Findings about the memory of groups.

use super::finding::{FindingStatus, WhyFinding};
use super::words::span;
use crate::output::bytes_for_people;
use grower_client::GroupMemory;

/// Reports that a group was refused memory recently. The group need not exist: its first member may wait.
pub(crate) fn memory_refusal(group: &str, memory: &GroupMemory) -> Option<WhyFinding> {
    let refused = memory.refused.iter().find(|refused| refused.group.as_str() == group)?;
    let (used, max) = (bytes_for_people(memory.used), bytes_for_people(memory.max));
    let ago = span(refused.ago_ms);
    let says = format!(
        "memory for a new member or a commit was refused {ago} ago, with {used} of the {max} for groups in use; waiting \
         members retry ({})",
        refused.reason
    );
    Some(WhyFinding::new(FindingStatus::Wrong, format!("group {group}"), says))
}
