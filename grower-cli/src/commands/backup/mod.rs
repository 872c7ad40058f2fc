//! `backup DIR`, `backup list DIR`, `backup verify PATH`.

mod list;
mod running;
mod verify;

use crate::arguments::{Common, Output};
use crate::output::{Out, bytes_for_people, counted, escaped};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use grower_broker::offline::backups::{self, BackedUp};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// Make a backup, list backups, check one
///
/// A running broker makes a backup of itself while it goes on, on its own machine: DIR is a path below the directory that its
/// setting backup.dir names. With --data-dir (or --embedded) this command makes one itself, of a data directory on which no
/// broker runs: then DIR is any directory.
///
/// DIR holds any number of backups; each is whole without the others. Where it lies on the volume of the data, a backup costs
/// next to no room and little time: files that never change any more get a second name. Elsewhere they are copied, once.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_long_help = "A backup is one cut: topics, their configs, committed offsets of groups, and at least all the records that those offsets speak of. \
Of a running broker it has every record that was acknowledged before it began. \
A backup that was cut short is ignored by all, and removed by the next one. Any backup may be deleted, at any time. \
Ctrl-C ends the one that is being made; so does `grower-cli backup cancel`, and nothing else waits for one whose file system does not answer. \
A data directory may lie on a read-only mount: nothing is written to it then.

JSON: {\"path\",\"files\",\"bytes\",\"new_bytes\",\"copied_bytes\"}

Examples:
  grower-cli backup nightly                                       of a running broker, into nightly below its backup.dir
  grower-cli backup /backups/grower --data-dir /var/lib/grower    of a stopped one
  grower-cli backup list /backups/grower
  grower-cli backup verify /backups/grower                 the latest
  grower-cli restore /backups/grower /var/lib/grower-new"
)]
pub struct Backup {
    /// List backups, or check one
    #[command(subcommand)]
    command: Option<More>,
    /// The directory of backups; it is made if it is not there
    #[arg(required = true)]
    dir: Option<PathBuf>,
    /// A data directory on which no broker runs
    #[arg(long, value_name = "DATA")]
    data_dir: Option<PathBuf>,
    /// Share nothing with the backups before
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Subcommand)]
enum More {
    /// List the backups in a directory
    List(list::List),
    /// Check every byte of a backup
    Verify(verify::Verify),
    /// Cancel the backup that a running broker is making
    ///
    /// For one that hangs, or whose command was killed: Ctrl-C cancels it as well.
    Cancel,
}

impl Backup {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let data_dir = self.data_dir.as_ref().or(common.embedded.as_ref());
        match (self.command, &self.dir, data_dir) {
            (Some(More::List(command)), ..) => command.run(common),
            (Some(More::Verify(command)), ..) => command.run(common),
            (Some(More::Cancel), ..) => {
                let ended = running::cancel(common).await?;
                let mut out = Out::stdout();
                match common.output {
                    Output::Json => out.json(&json!({ "cancelled": ended }))?,
                    Output::Table => writeln!(out, "{}", escaped(&ended))?,
                }
                Ok(out.flush()?)
            }
            (None, Some(dir), Some(data_dir)) => {
                let bar = bar("read");
                let backed_up = backups::backup(data_dir, dir, self.full, |bytes| {
                    bar.set_position(bytes);
                    true
                })?;
                bar.finish_and_clear();
                print(&backed_up, common.output)
            }
            (None, Some(dir), None) => print(&running::backup(common, dir, self.full).await?, common.output),
            (None, None, _) => Err(anyhow!("name the directory of the backups")), // The parser sees to it.
        }
    }
}

/// How far long work has come.
pub(super) fn bar(done: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{spinner}} {{bytes}} {done}, {{bytes_per_sec}}"));
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn print(backed_up: &BackedUp, output: Output) -> anyhow::Result<()> {
    let BackedUp { path, files, bytes, new_bytes, copied_bytes } = backed_up;
    let path = path.display().to_string();
    let mut out = Out::stdout();
    match output {
        Output::Json => out.json(&json!({
            "path": path, "files": files, "bytes": bytes, "new_bytes": new_bytes, "copied_bytes": copied_bytes,
        }))?,
        Output::Table => tell(&mut out, &path, *files, [*bytes, *new_bytes, *copied_bytes])?,
    }
    Ok(out.flush()?)
}

fn tell(out: &mut Out, path: &str, files: u64, bytes: [u64; 3]) -> io::Result<()> {
    let [all, new, copied] = bytes.map(bytes_for_people);
    writeln!(out, "{}: {}, {all}, of them {new} new and {copied} copied", escaped(path), counted(files, "file"))
}
