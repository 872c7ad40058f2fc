//! Lists of all groups, by id, a page at a time: one answer may be too small for all of them.

use super::Groups;
use super::served_shard::ServedShard;
use crate::group::state::shard_of;
use grower_protocol::ids::{GroupId, PartitionId};
use grower_protocol::message::{Failure, GroupInspection, GroupSummary};
use grower_protocol::wire::{MESSAGE_BYTES_MAX, read_length};

/// The largest number of groups in a page.
const PAGE: usize = 1_000;
/// The largest encoded size of a group: with the answer around it, a whole message.
const GROUP_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;

impl Groups {
    /// All groups, sorted by id. The result is durable when this returns.
    pub(crate) async fn list(&self) -> Result<Vec<GroupSummary>, Failure> {
        let all = self.list_after(None, usize::MAX);
        self.all_durable(all.iter().map(|group| &group.group)).await?;
        Ok(all)
    }

    /// A page of the groups after this id, and the id that the next page starts after. The result is durable when this
    /// returns.
    pub(crate) async fn page(&self, after: Option<&GroupId>) -> Result<(Vec<GroupSummary>, Option<GroupId>), Failure> {
        let page = self.first_after(after, PAGE);
        self.all_durable(page.0.iter().map(|group| &group.group)).await?;
        Ok(page)
    }

    /// A page of at most `max` groups with all details for operators.
    pub(crate) async fn inspect_page(
        &self,
        after: Option<&GroupId>,
        max: u32,
    ) -> Result<(Vec<GroupInspection>, Option<GroupId>), Failure> {
        // The page in memory and its encoded form share the memory reserved for listings. A larger group gets a page
        // alone.
        let bytes_max = self.memory.listing_bytes() / 2;
        let (listed, mut next) = self.first_after(after, (max as usize).clamp(1, PAGE));
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for GroupSummary { group, .. } in listed {
            let seen = self.live(shard_of(&group)).shard.lock().inspect(&group, self.now());
            // A group deleted meanwhile is left out.
            if let Ok(seen) = seen {
                let (seen, length) = readable(seen);
                bytes += length;
                if bytes_max < bytes && !page.is_empty() {
                    next = last;
                    break;
                }
                page.push(seen);
            }
            last = Some(group);
        }
        self.all_durable(page.iter().map(|seen| &seen.group.group)).await?;
        Ok((page, next))
    }

    fn first_after(&self, after: Option<&GroupId>, max: usize) -> (Vec<GroupSummary>, Option<GroupId>) {
        let mut groups = self.list_after(after, max + 1);
        let more = max < groups.len();
        groups.truncate(max);
        let next = groups.last().filter(|_| more).map(|group| group.group.clone());
        (groups, next)
    }

    /// Shards with an online log; nothing durable is known of the others.
    fn online(&self) -> impl Iterator<Item = &ServedShard> {
        let served = (0..).map(PartitionId::new).zip(&self.shards).filter(|(number, _)| self.find_log(*number).is_ok());
        served.map(|(_, live)| live)
    }

    fn list_after(&self, after: Option<&GroupId>, max: usize) -> Vec<GroupSummary> {
        let mut groups: Vec<_> = self.online().flat_map(|live| live.shard.lock().list_after(after, max)).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups.truncate(max);
        groups
    }

    /// Returns when everything that was read of these groups is durable.
    async fn all_durable(&self, seen: impl Iterator<Item = &GroupId>) -> Result<(), Failure> {
        for group in seen {
            self.queues.drain(group).await; // Members change when a decision is made, before it is appended.
        }
        for (number, live) in (0..).map(PartitionId::new).zip(&self.shards) {
            let end = live.written.lock().newest();
            if let Some(log) = self.log_of(number) {
                self.durable(&log, end).await?;
            }
        }
        Ok(())
    }
}

/// A group as a list shows it, and its encoded size. A client's data must not hide other groups: metadata texts are
/// left out, and a group that would fill a message is reduced to its id and state.
fn readable(mut seen: GroupInspection) -> (GroupInspection, usize) {
    seen.group.offsets.iter_mut().for_each(|offset| offset.metadata = String::new());
    let length = read_length(&seen);
    if length <= GROUP_BYTES_MAX {
        return (seen, length);
    }
    (seen.group.offsets, seen.group.members, seen.members) = Default::default();
    let length = read_length(&seen);
    (seen, length)
}
