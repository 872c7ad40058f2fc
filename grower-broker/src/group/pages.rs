//! All groups in the order of their ids, a page at a time: there may be more than belong into one answer.

use super::Groups;
use super::served_shard::ServedShard;
use crate::group::state::shard_of;
use grower_protocol::ids::{GroupId, PartitionId};
use grower_protocol::message::{Failure, GroupInspection, GroupSummary};
use grower_protocol::wire::{MESSAGE_BYTES_MAX, read_length};

/// Groups in a page.
const PAGE: usize = 1_000;
/// What a group may come to for its reader: with the answer around it, a whole message.
const GROUP_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;

impl Groups {
    /// All groups, sorted by id. What it sees is durable when this returns.
    pub(crate) async fn list(&self) -> Result<Vec<GroupSummary>, Failure> {
        let all = self.list_after(None, usize::MAX);
        self.all_durable(all.iter().map(|group| &group.group)).await?;
        Ok(all)
    }

    /// Groups whose ids come after this one, and after which the next page goes on. Durable likewise.
    pub(crate) async fn page(&self, after: Option<&GroupId>) -> Result<(Vec<GroupSummary>, Option<GroupId>), Failure> {
        let page = self.first_after(after, PAGE);
        self.all_durable(page.0.iter().map(|group| &group.group)).await?;
        Ok(page)
    }

    /// The same with all that helps to look after them, at most so many.
    pub(crate) async fn inspect_page(
        &self,
        after: Option<&GroupId>,
        most: u32,
    ) -> Result<(Vec<GroupInspection>, Option<GroupId>), Failure> {
        // As it is and encoded, it takes what was kept free for it. A larger group has a page of its own.
        let bytes_max = self.memory.listing_bytes() / 2;
        let (listed, mut next) = self.first_after(after, (most as usize).clamp(1, PAGE));
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for GroupSummary { group, .. } in listed {
            let seen = self.live(shard_of(&group)).shard.lock().inspect(&group, self.now());
            // One that is gone by now is left out.
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

    fn first_after(&self, after: Option<&GroupId>, most: usize) -> (Vec<GroupSummary>, Option<GroupId>) {
        let mut groups = self.list_after(after, most + 1);
        let more = most < groups.len();
        groups.truncate(most);
        let next = groups.last().filter(|_| more).map(|group| group.group.clone());
        (groups, next)
    }

    /// The shards whose logs are served: of the others nothing can be told that is durable.
    fn known(&self) -> impl Iterator<Item = &ServedShard> {
        let served = (0..).map(PartitionId::new).zip(&self.shards).filter(|(number, _)| self.find_log(*number).is_ok());
        served.map(|(_, live)| live)
    }

    fn list_after(&self, after: Option<&GroupId>, most: usize) -> Vec<GroupSummary> {
        let mut groups: Vec<_> = self.known().flat_map(|live| live.shard.lock().list_after(after, most)).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups.truncate(most);
        groups
    }

    /// Returns when what was seen of these groups is durable.
    async fn all_durable(&self, seen: impl Iterator<Item = &GroupId>) -> Result<(), Failure> {
        for group in seen {
            self.queues.pass(group).await; // Members change when a step is decided, before it is written down.
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

/// A group as it can be told beside others, and what it comes to for its reader. What clients write into a group must not
/// keep anybody from seeing the others: texts are left out, and of a group that fills a message all but what it is called
/// and does.
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
