//! `backup DIR`, `backup list DIR`, `backup verify PATH`.

mod list;
mod running;
mod verify;

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, bytes_bar, bytes_for_people, counted, escaped};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use grower_broker::offline::backups::{self, BackedUp};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// Make, list and verify backups
///
/// A running broker backs itself up while it serves, on its own machine: DIR is a path below the directory in its
/// setting backup.dir. With --data-dir (or --embedded) this command backs up a data directory on which no broker
/// runs: DIR is then any directory.
///
/// DIR holds any number of backups, each complete without the others. On the volume of the data a backup takes little
/// space and time: files that no longer change get a hard link. On another volume they are copied, once.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_long_help = "A backup is a consistent snapshot: topics, their configs, the groups' committed offsets, and at least all records before those offsets. \
A backup of a running broker has every record that was acknowledged before the backup began. \
An unfinished backup is ignored, and the next one removes it. Any backup may be deleted, at any time. \
Ctrl-C and `grower-cli backup cancel` end a backup in progress, also one whose file system does not answer. \
A data directory on a read-only mount is backed up without a write to it.

JSON: {\"path\",\"files\",\"bytes\",\"new_bytes\",\"copied_bytes\"}

Examples:
  grower-cli backup nightly                                       a running broker, into nightly below its backup.dir
  grower-cli backup /backups/grower --data-dir /var/lib/grower    a stopped broker
  grower-cli backup list /backups/grower
  grower-cli backup verify /backups/grower                 the latest
  grower-cli restore /backups/grower /var/lib/grower-new"
)]
pub struct BackupCommand {
    /// List or verify backups
    #[command(subcommand)]
    command: Option<More>,
    /// The directory of backups; created if missing
    #[arg(required = true)]
    dir: Option<PathBuf>,
    /// A data directory on which no broker runs
    #[arg(long, value_name = "DATA")]
    data_dir: Option<PathBuf>,
    /// Copy every file, and share none with earlier backups
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Subcommand)]
enum More {
    /// List the backups in a directory
    List(list::ListBackupsCommand),
    /// Check every byte of a backup
    Verify(verify::VerifyBackupCommand),
    /// Cancel the backup that a running broker is making
    ///
    /// Use it for a backup that hangs, or whose command was killed. Ctrl-C cancels a backup, too.
    Cancel,
}

impl BackupCommand {
    pub(crate) async fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let data_dir = self.data_dir.as_ref().or(options.embedded.as_ref());
        match (self.command, &self.dir, data_dir) {
            (Some(More::List(command)), ..) => command.run(options),
            (Some(More::Verify(command)), ..) => command.run(options),
            (Some(More::Cancel), ..) => {
                let ended = running::cancel(options).await?;
                let mut out = StdoutWriter::open();
                match options.output {
                    OutputForm::Json => out.json(&json!({ "cancelled": ended }))?,
                    OutputForm::Table => writeln!(out, "{}", escaped(&ended))?,
                }
                Ok(out.flush()?)
            }
            (None, Some(dir), Some(data_dir)) => {
                let bar = bytes_bar("read");
                let backed_up = backups::backup(data_dir, dir, self.full, |bytes| {
                    bar.set_position(bytes);
                    true
                })?;
                bar.finish_and_clear();
                print(&backed_up, options.output)
            }
            (None, Some(dir), None) => print(&running::backup(options, dir, self.full).await?, options.output),
            (None, None, _) => Err(anyhow!("name the directory of the backups")), // The parser refuses this.
        }
    }
}

fn print(backed_up: &BackedUp, output: OutputForm) -> anyhow::Result<()> {
    let BackedUp { path, files, bytes, new_bytes, copied_bytes } = backed_up;
    let path = path.display().to_string();
    let mut out = StdoutWriter::open();
    match output {
        OutputForm::Json => out.json(&json!({
            "path": path, "files": files, "bytes": bytes, "new_bytes": new_bytes, "copied_bytes": copied_bytes,
        }))?,
        OutputForm::Table => print_written(&mut out, &path, *files, [*bytes, *new_bytes, *copied_bytes])?,
    }
    Ok(out.flush()?)
}

fn print_written(out: &mut StdoutWriter, path: &str, files: u64, bytes: [u64; 3]) -> io::Result<()> {
    let [all, new, copied] = bytes.map(bytes_for_people);
    writeln!(out, "{}: {}, {all}; {new} new, {copied} copied", escaped(path), counted(files, "file"))
}
