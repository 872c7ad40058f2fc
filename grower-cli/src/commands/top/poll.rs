//! Fetches everything that the view shows.

use super::model::{GroupLine, TopSnapshot, TopicLine};
use crate::capacity::Rate;
use crate::groups;
use grower_client::{Admin, AdminError, GroupDescription, TopicDescription};
use std::time::Duration;

/// Groups beyond this many are left out: each costs lookups of its partitions.
const GROUPS_MAX: usize = 100;

/// Fetches one snapshot.
pub(crate) async fn poll(admin: &Admin, at: Duration) -> Result<TopSnapshot, AdminError> {
    let broker = admin.describe_broker().await?;
    let topics = admin.describe_topics(None, false).await?.into_iter().flatten().map(topic_line).collect();
    let described = admin.list_groups(GROUPS_MAX).await?;
    let names = groups::topic_names(admin).await?;
    let progress = groups::fetch_progress(admin, &described, &names, broker.now).await?;
    let groups = described.iter().zip(&progress).map(|(group, rows)| group_line(group, rows)).collect();
    Ok(TopSnapshot { at, broker, topics, groups })
}

fn topic_line(topic: TopicDescription) -> TopicLine {
    TopicLine {
        id: topic.id,
        partitions: topic.partitions.len() as u64,
        records: topic.partitions.iter().map(|p| p.log_end.since(p.log_start)).sum(),
        bytes: topic.partitions.iter().map(|partition| partition.bytes).sum(),
        rate: Rate::default(),
        name: topic.name,
    }
}

fn group_line(group: &GroupDescription, rows: &[groups::GroupProgress]) -> GroupLine {
    let (lag, lag_ms) = groups::total_lag(rows);
    GroupLine {
        name: group.group.to_string(),
        state: group.state,
        members: group.members.len() as u64,
        lag,
        lag_ms: lag_ms.filter(|_| !group.is_in_brief()),
    }
}
