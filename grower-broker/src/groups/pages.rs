//! All groups in the order of their ids, a page at a time: there may be more than belong into one answer.

use super::Groups;
use crate::group::SHARDS;
use grower_protocol::ids::{GroupId, PartitionId};
use grower_protocol::message::{Failure, GroupInspection, GroupSummary};
use grower_protocol::wire::{MESSAGE_BYTES_MAX, read_length};

/// Groups in a page.
const PAGE: usize = 1_000;
/// What the groups of a page come to for their reader; a larger one has a page of its own.
const PAGE_BYTES: usize = MESSAGE_BYTES_MAX / 4;

impl Groups {
    /// All groups, sorted by id. What it sees is durable when this returns.
    pub(crate) async fn list(&self) -> Result<Vec<GroupSummary>, Failure> {
        let all = self.list_after(None, usize::MAX);
        self.all_durable().await?;
        Ok(all)
    }

    /// Groups whose ids come after this one, and after which the next page goes on. Durable likewise.
    pub(crate) async fn page(&self, after: Option<&GroupId>) -> Result<(Vec<GroupSummary>, Option<GroupId>), Failure> {
        let mut page = self.list_after(after, PAGE + 1);
        let more = PAGE < page.len();
        page.truncate(PAGE);
        self.all_durable().await?;
        let next = page.last().filter(|_| more).map(|group| group.group.clone());
        Ok((page, next))
    }

    /// The same with all that helps to look after them.
    pub(crate) async fn inspect_page(
        &self,
        after: Option<&GroupId>,
    ) -> Result<(Vec<GroupInspection>, Option<GroupId>), Failure> {
        let (listed, mut next) = self.page(after).await?;
        let (mut page, mut bytes): (Vec<GroupInspection>, usize) = (Vec::new(), 0);
        let mut last = None;
        for GroupSummary { group, .. } in listed {
            // One that is gone by now is left out.
            if let Ok(seen) = self.look(&group, |shard, now| shard.inspect(&group, now.at)).await? {
                bytes += read_length(&seen);
                if PAGE_BYTES < bytes && !page.is_empty() {
                    next = last;
                    break;
                }
                page.push(seen);
            }
            last = Some(group);
        }
        Ok((page, next))
    }

    fn list_after(&self, after: Option<&GroupId>, most: usize) -> Vec<GroupSummary> {
        let mut groups: Vec<_> = self.shards.iter().flat_map(|shard| shard.lock().list_after(after, most)).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups.truncate(most);
        groups
    }

    async fn all_durable(&self) -> Result<(), Failure> {
        for log in (0..SHARDS).map(PartitionId::new).filter_map(|number| self.log_of(number)) {
            self.flushers.durable(&log).await?;
        }
        Ok(())
    }
}
