//! Lists of all groups, by id, a page at a time: one answer may be too small for all of them.

use super::Groups;
use super::served_shard::ServedShard;
use crate::group::state::shard_of;
use grower_protocol::ids::{GroupId, PartitionId};
use grower_protocol::message::{Failure, GroupDescription};
use grower_protocol::wire::{MESSAGE_BYTES_MAX, read_length};

/// The largest number of groups in a page.
const PAGE: usize = 1_000;
/// The largest encoded size of a group: with the answer around it, a whole message.
const GROUP_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;

impl Groups {
    /// A page of at most `max` groups after this id, and the id that the next page starts after. The result is
    /// durable when this returns.
    pub(crate) async fn page(
        &self,
        after: Option<&GroupId>,
        max: u32,
    ) -> Result<(Vec<GroupDescription>, Option<GroupId>), Failure> {
        // The page in memory and its encoded form share the memory reserved for listings. A larger group gets a page
        // alone.
        let bytes_max = self.memory.listing_bytes() / 2;
        let (listed, mut next) = self.first_after(after, (max as usize).clamp(1, PAGE));
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for group in listed {
            let described = self.live(shard_of(&group)).shard.lock().describe(&group, self.now());
            // A group deleted meanwhile is left out.
            if let Ok(mut described) = described {
                self.compare_with_logs(&mut described.offsets);
                let (described, length) = readable(described);
                bytes += length;
                if bytes_max < bytes && !page.is_empty() {
                    next = last;
                    break;
                }
                page.push(described);
            }
            last = Some(group);
        }
        self.all_durable(page.iter().map(|described| &described.group)).await?;
        Ok((page, next))
    }

    fn first_after(&self, after: Option<&GroupId>, max: usize) -> (Vec<GroupId>, Option<GroupId>) {
        let mut groups = self.list_after(after, max + 1);
        let more = max < groups.len();
        groups.truncate(max);
        let next = groups.last().filter(|_| more).cloned();
        (groups, next)
    }

    /// Shards with an online log; nothing durable is known of the others.
    fn online(&self) -> impl Iterator<Item = &ServedShard> {
        let served = (0..).map(PartitionId::new).zip(&self.shards).filter(|(number, _)| self.find_log(*number).is_ok());
        served.map(|(_, live)| live)
    }

    fn list_after(&self, after: Option<&GroupId>, max: usize) -> Vec<GroupId> {
        let mut groups: Vec<_> = self.online().flat_map(|live| live.shard.lock().list_after(after, max)).collect();
        groups.sort();
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
fn readable(mut described: GroupDescription) -> (GroupDescription, usize) {
    described.offsets.iter_mut().for_each(|offset| offset.metadata = String::new());
    let length = read_length(&described);
    if length <= GROUP_BYTES_MAX {
        return (described, length);
    }
    (described.offsets, described.members) = Default::default();
    let length = read_length(&described);
    (described, length)
}
