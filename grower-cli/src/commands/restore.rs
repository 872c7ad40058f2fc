//! `restore BACKUP DATA_DIR`.

use crate::arguments::{Common, Output};
use crate::output::{Out, bytes_for_people, counted, escaped};
use clap::Args;
use grower_broker::offline::backups::{self, Restored};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Make a new data directory from a backup
///
/// Every file is checked on its way. The directory belongs to the same cluster as before, so that clients and groups go on,
/// and its node gets an identity of its own. Never let it serve beside the broker that the backup is of.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Nothing is overwritten: DATA must be new or empty, and lie in no backup. Cut short, the same command begins again; no broker starts on half of it.

JSON: {\"backup\",\"data_dir\",\"created\",\"cluster\",\"node\",\"files\",\"bytes\"}

Example:
  grower-cli restore /backups/grower/backup-000007 /var/lib/grower && grower-broker --data-dir /var/lib/grower"
)]
pub struct Restore {
    /// A backup, or a directory of backups: then the latest
    backup: PathBuf,
    /// The new data directory
    #[arg(value_name = "DATA")]
    data_dir: PathBuf,
}

impl Restore {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let bar = super::backup::bar("copied");
        let restored = backups::restore(&self.backup, &self.data_dir, |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        let Restored { backup, manifest } = restored;
        let (backup, data_dir) = (backup.display().to_string(), self.data_dir.display().to_string());
        let mut out = Out::stdout();
        match common.output {
            Output::Json => out.json(&json!({
                "backup": backup,
                "data_dir": data_dir,
                "created": manifest.created.as_millis(),
                "cluster": manifest.cluster.to_string(),
                "node": manifest.node.value(),
                "files": manifest.files.len(),
                "bytes": manifest.bytes(),
            }))?,
            Output::Table => {
                let (files, bytes) = (manifest.files.len(), bytes_for_people(manifest.bytes()));
                let (backup, data_dir) = (escaped(&backup), escaped(&data_dir));
                writeln!(out, "{data_dir}: {}, {bytes} from {backup}; start a broker on it", counted(files, "file"))?;
            }
        }
        Ok(out.flush()?)
    }
}
