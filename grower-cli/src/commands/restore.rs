//! `restore BACKUP DATA_DIR`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, bytes_bar, bytes_for_people, counted, escaped};
use clap::Args;
use grower_broker::offline::backups::{self, Restored};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Restore a backup into a new data directory
///
/// Every file is verified while it is copied. The directory belongs to the same cluster, so that clients and groups
/// continue; its node gets a new identity. Never serve the directory while the backed-up broker runs.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Nothing is overwritten: DATA must be new or empty, and outside every backup. Repeat an interrupted restore with the same command; no broker starts on an unfinished one.

JSON: {\"backup\",\"data_dir\",\"created\",\"cluster\",\"node\",\"files\",\"bytes\"}

Example:
  grower-cli restore /backups/grower/backup-000007 /var/lib/grower && grower-broker --data-dir /var/lib/grower"
)]
pub struct RestoreCommand {
    /// A backup, or a directory of backups for the latest one
    backup: PathBuf,
    /// The new data directory
    #[arg(value_name = "DATA")]
    data_dir: PathBuf,
}

impl RestoreCommand {
    pub(crate) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let bar = bytes_bar("copied");
        let restored = backups::restore(&self.backup, &self.data_dir, |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        let Restored { backup, manifest } = restored;
        let (backup, data_dir) = (backup.display().to_string(), self.data_dir.display().to_string());
        let mut out = StdoutWriter::open();
        match options.output {
            OutputForm::Json => out.json(&json!({
                "backup": backup,
                "data_dir": data_dir,
                "created": manifest.created.as_millis(),
                "cluster": manifest.cluster.to_string(),
                "node": manifest.node.value(),
                "files": manifest.files.len(),
                "bytes": manifest.bytes(),
            }))?,
            OutputForm::Table => {
                let (files, bytes) = (manifest.files.len(), bytes_for_people(manifest.bytes()));
                let (backup, data_dir) = (escaped(&backup), escaped(&data_dir));
                writeln!(out, "{data_dir}: {}, {bytes} from {backup}; start a broker on it", counted(files, "file"))?;
            }
        }
        Ok(out.flush()?)
    }
}
