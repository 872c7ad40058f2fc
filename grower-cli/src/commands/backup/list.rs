//! `backup list DIR`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, TextTable, bytes_for_people, rfc3339};
use anyhow::ensure;
use clap::Args;
use grower_broker::offline::backups::{self, Listed};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// List the backups in a directory, oldest first
#[derive(Debug, Args)]
#[command(
    after_help = "JSON: [{\"path\",\"created\",\"cluster\",\"node\",\"files\",\"bytes\"} or {\"path\",\"damaged\"}]. bytes is the size after a \
restore; on disk, backups share unchanged files."
)]
pub(super) struct ListBackupsCommand {
    /// The directory of backups
    dir: PathBuf,
}

impl ListBackupsCommand {
    pub(super) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let listed = backups::list(&self.dir)?;
        ensure!(!listed.is_empty(), "{} holds no backup", self.dir.display());
        let mut out = StdoutWriter::open();
        match options.output {
            OutputForm::Json => out.json(&listed.iter().map(to_json).collect::<Vec<_>>())?,
            OutputForm::Table => {
                let mut table = TextTable::new(["BACKUP", "CREATED", "NODE", "FILES", "SIZE"]);
                listed.iter().for_each(|listed| table.row(to_row(listed)));
                table.print(&mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}

fn to_row(Listed { path, manifest }: &Listed) -> [String; 5] {
    let path = path.display().to_string();
    match manifest {
        Ok(manifest) => {
            let bytes = bytes_for_people(manifest.bytes());
            [path, rfc3339(manifest.created), manifest.node.to_string(), manifest.files.len().to_string(), bytes]
        }
        Err(error) => [path, error.to_string(), String::new(), String::new(), String::new()],
    }
}

fn to_json(Listed { path, manifest }: &Listed) -> Value {
    let path = path.display().to_string();
    match manifest {
        Ok(manifest) => json!({
            "path": path,
            "created": manifest.created.as_millis(),
            "cluster": manifest.cluster.to_string(),
            "node": manifest.node.value(),
            "files": manifest.files.len(),
            "bytes": manifest.bytes(),
        }),
        Err(error) => json!({"path": path, "damaged": error.to_string()}),
    }
}
