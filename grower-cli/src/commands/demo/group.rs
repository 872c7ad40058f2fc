//! Consumer groups: sharing, a killed member, idle members, a second group.

use super::reader::{DemoRecordKey, GroupReader, wait_until, wait_until_owned};
use super::script::DemoOutput;
use std::collections::BTreeSet;

const GROUP: &str = "readers";

/// S1 and S2 share rainbow; S1 is killed and S2 takes over. Returns S2.
pub(super) async fn two_members_one_killed(demo: &mut DemoOutput<'_>) -> anyhow::Result<GroupReader> {
    demo.say("\nS1 and S2 subscribe in one group; they read in batches of 3")?;
    let mut s1 = GroupReader::join(demo.client, GROUP, "S1", "rainbow").await?;
    let mut s2 = GroupReader::join(demo.client, GROUP, "S2", "rainbow").await?;
    wait_until_owned(&[(&s1, &[0, 1]), (&s2, &[2])], "sharing rainbow").await?;
    demo.claim(true, "S1 is given partitions [0, 1], S2 [2]")?;

    let mut committed = s1.read(demo, 3).await?;
    committed.extend(s2.read(demo, 3).await?);

    demo.say("\nS1 is killed, without leaving the group")?;
    drop(s1);
    let taken_over = s2.read(demo, 18 - committed.len()).await?;
    wait_until_owned(&[(&s2, &[0, 1, 2])], "taking over").await?;
    demo.claim(true, "S2 takes over 0 and 1 from the committed offsets")?;
    check_once_each(demo, &committed, &taken_over)?;
    Ok(s2)
}

fn check_once_each(
    demo: &mut DemoOutput<'_>,
    committed: &[DemoRecordKey],
    taken_over: &[DemoRecordKey],
) -> anyhow::Result<()> {
    let before: BTreeSet<_> = committed.iter().collect();
    let again = taken_over.iter().filter(|record| before.contains(record)).count();
    demo.claim(again == 0, "nothing that was committed is read again")?;
    let all: BTreeSet<_> = committed.iter().chain(taken_over).collect();
    demo.claim(all.len() == 18, "nothing is skipped: all 18 records were read")
}

/// Four members, three partitions.
pub(super) async fn third_and_fourth_member(demo: &mut DemoOutput<'_>, s2: GroupReader) -> anyhow::Result<()> {
    demo.say("\nS1 comes back, a third and a fourth member join")?;
    let s1 = GroupReader::join(demo.client, GROUP, "S1", "rainbow").await?;
    let s3 = GroupReader::join(demo.client, GROUP, "S3", "rainbow").await?;
    let s4 = GroupReader::join(demo.client, GROUP, "S4", "rainbow").await?;
    let one_each = |owned: &[Vec<u32>]| {
        let all: BTreeSet<u32> = owned.iter().flatten().copied().collect();
        all.len() == 3 && owned.iter().map(Vec::len).eq([1, 1, 1, 0])
    };
    wait_until(&[&s1, &s2, &s3, &s4], "one partition each", one_each).await?;
    let line = format!(
        "S1 is given {:?}, S2 {:?}, S3 {:?}: one partition each, S4 is idle",
        s1.owned_partitions(),
        s2.owned_partitions(),
        s3.owned_partitions()
    );
    demo.claim(true, line)?;
    for mut reader in [s1, s2, s3, s4] {
        reader.consumer.close().await?;
    }
    Ok(())
}

/// Each group has its own committed offsets.
pub(super) async fn second_group(demo: &mut DemoOutput<'_>) -> anyhow::Result<()> {
    demo.say("\na second group reads everything again from the start")?;
    let mut reader = GroupReader::join(demo.client, "others", "T1", "rainbow").await?;
    let read: BTreeSet<DemoRecordKey> = reader.read(demo, 18).await?.into_iter().collect();
    reader.consumer.close().await?;
    demo.claim(read.len() == 18, "all 18 records, independent of the first group's commits")
}
