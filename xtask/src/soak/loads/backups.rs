//! Repeated backups of the daemon, of which the last two are kept.
//!
//! Their number is limited: a backup rolls active segments, and each segment of a topic without retention is an open
//! file. After the last backup descriptors must be flat again.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::bail;
use grower_client::{Admin, BackupState};
use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

const KEPT: usize = 2;
const MOST: usize = 10;
const EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let mut kept = VecDeque::new();
    for _ in 0..MOST {
        kept.push_back(make(&client.admin()).await?);
        tally.backups.add(1);
        if KEPT < kept.len()
            && let Some(oldest) = kept.pop_front()
        {
            fs::remove_dir_all(oldest)?;
        }
        if !stop.sleep(EVERY).await {
            return Ok(());
        }
    }
    stop.wait().await;
    Ok(())
}

/// Makes a backup and returns its path.
async fn make(admin: &Admin) -> anyhow::Result<String> {
    admin.begin_backup("soak", false).await?;
    loop {
        match admin.describe_backup().await?.map(|backup| backup.state) {
            Some(BackupState::Made(made)) => return Ok(made.path),
            Some(BackupState::Failed(failure)) => bail!("{failure}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
