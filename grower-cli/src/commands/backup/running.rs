//! `backup DIR` of a running broker: it makes the backup, this command begins it and waits.

use crate::arguments::Common;
use crate::session::{Session, interrupted};
use anyhow::{Context, bail};
use grower_broker::offline::backups::BackedUp;
use grower_client::{Admin, BackupDescription, BackupMade, BackupState};
use std::path::Path;
use std::time::Duration;

/// How often the broker is asked how far it is.
const ASK_EACH: Duration = Duration::from_millis(100);

pub(super) async fn backup(common: &Common, dir: &Path, full: bool) -> anyhow::Result<BackedUp> {
    let dir = dir.to_str().context("a running broker takes a path that is text")?;
    let session = Session::open(common).await?;
    let admin = session.client.admin();
    let begun = admin.begin_backup(dir, full).await?;
    let ended = tokio::select! {
        ended = wait(&admin, begun.number) => ended,
        () = interrupted() => {
            admin.cancel_backup().await?;
            wait(&admin, begun.number).await
        }
    };
    session.close().await?;
    ended
}

async fn wait(admin: &Admin, number: u64) -> anyhow::Result<BackedUp> {
    let bar = super::bar("read");
    loop {
        let latest = admin.describe_backup().await.context("the broker may still be making the backup")?;
        let Some(BackupDescription { read_bytes, state, .. }) = latest.filter(|latest| latest.number == number) else {
            bail!("the broker was restarted meanwhile, or was asked for another backup: see `grower-cli backup list`");
        };
        bar.set_position(read_bytes);
        match state {
            BackupState::Running => tokio::time::sleep(ASK_EACH).await,
            BackupState::Made(made) => {
                bar.finish_and_clear();
                let BackupMade { path, files, bytes, new_bytes, copied_bytes } = made;
                return Ok(BackedUp { path: path.into(), files, bytes, new_bytes, copied_bytes });
            }
            BackupState::Failed(failure) => return Err(failure.into()),
        }
    }
}
