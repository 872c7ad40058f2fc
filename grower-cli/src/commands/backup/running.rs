//! `backup DIR` of a running broker: this command starts the backup and waits, the broker makes it.

use crate::options::GlobalOptions;
use crate::output::bytes_bar;
use crate::session::{Session, interrupted};
use anyhow::{Context, bail};
use grower_broker::offline::backups::BackedUp;
use grower_client::{Admin, BackupDescription, BackupMade, BackupState};
use std::path::Path;
use std::time::Duration;

/// How often to ask the broker for the state of the backup.
const ASK_EACH: Duration = Duration::from_millis(100);

pub(super) async fn backup(options: &GlobalOptions, dir: &Path, full: bool) -> anyhow::Result<BackedUp> {
    let dir = dir.to_str().context("the path for a running broker must be UTF-8")?;
    let session = Session::open(options).await?;
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

/// Cancels the backup in progress.
pub(super) async fn cancel(options: &GlobalOptions) -> anyhow::Result<String> {
    let session = Session::open(options).await?;
    let admin = session.client.admin();
    let running = admin.describe_backup().await?.filter(|latest| latest.state == BackupState::Running);
    let Some(running) = running else { bail!("no backup is in progress") };
    admin.cancel_backup().await?;
    let ended = match state_at_end(&admin, running.number).await? {
        BackupState::Failed(failure) => failure.detail,
        _ => "the backup was complete before it could be cancelled".to_owned(),
    };
    session.close().await?;
    Ok(ended)
}

async fn wait(admin: &Admin, number: u64) -> anyhow::Result<BackedUp> {
    match state_at_end(admin, number).await? {
        BackupState::Made(BackupMade { path, files, bytes, new_bytes, copied_bytes }) => {
            Ok(BackedUp { path: path.into(), files, bytes, new_bytes, copied_bytes })
        }
        BackupState::Failed(failure) => Err(failure.into()),
        BackupState::Running => bail!("the broker is still making the backup"), // `state_at_end` never returns this.
    }
}

/// Waits for the end of a backup.
async fn state_at_end(admin: &Admin, number: u64) -> anyhow::Result<BackupState> {
    let bar = bytes_bar("read");
    loop {
        let latest = admin.describe_backup().await.context("the broker may still be making the backup")?;
        let Some(BackupDescription { read_bytes, state, .. }) = latest.filter(|latest| latest.number == number) else {
            bail!("the broker restarted, or another backup began: see `grower-cli backup list`");
        };
        bar.set_position(read_bytes);
        if state != BackupState::Running {
            bar.finish_and_clear();
            return Ok(state);
        }
        tokio::time::sleep(ASK_EACH).await;
    }
}
