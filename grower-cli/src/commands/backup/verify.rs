//! `backup verify PATH`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, bytes_bar, bytes_for_people, counted, escaped};
use anyhow::{bail, ensure};
use clap::Args;
use grower_broker::offline::backups::{self, Checked};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// Check every byte of a backup
///
/// Compares each file with its checksum in the manifest, then checks the contents as `log verify` does.
#[derive(Debug, Args)]
#[command(after_long_help = "Exit status: 0 if the backup is intact; 1 with a line for each damaged file.

JSON: {\"path\",\"files\",\"bytes\",\"findings\":[{\"file\",\"what\"}]}")]
pub(super) struct VerifyBackupCommand {
    /// A backup, or a directory of backups for the latest one
    path: PathBuf,
}

impl VerifyBackupCommand {
    pub(super) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let bar = bytes_bar("checked");
        let checked = backups::check(&self.path, |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        let Some(Checked { path, manifest, findings }) = checked else {
            bail!("{} is not a backup and contains none", self.path.display());
        };
        let (path, manifest) = (path.display().to_string(), manifest?);
        let mut out = StdoutWriter::open();
        match options.output {
            OutputForm::Json => {
                let findings: Vec<_> = findings
                    .iter()
                    .map(|finding| json!({"file": finding.path.display().to_string(), "what": finding.reason}))
                    .collect();
                let (files, bytes) = (manifest.files.len(), manifest.bytes());
                out.json(&json!({"path": path, "files": files, "bytes": bytes, "findings": findings}))?;
            }
            OutputForm::Table => {
                findings.iter().try_for_each(|finding| writeln!(out, "{}", escaped(&finding.to_string())))?;
                let (files, bytes) = (manifest.files.len(), bytes_for_people(manifest.bytes()));
                writeln!(out, "{}: {}, {bytes} checked", escaped(&path), counted(files, "file"))?;
            }
        }
        out.flush()?;
        ensure!(findings.is_empty(), "{path} is damaged");
        Ok(())
    }
}
