//! `log verify DIR`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, bytes_bar, bytes_for_people, counted, escaped};
use anyhow::bail;
use clap::Args;
use grower_broker::offline::repair::PartitionName;
use grower_broker::offline::{self, Finding, VerifiedDirectory};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Check every byte of a data directory
///
/// Checks the identity, the metadata, and every batch, index entry and state file of each partition. It changes
/// nothing. No broker may run on the directory meanwhile.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Exit status: 0 if nothing is damaged; 1 with a line for each damaged range: the file, the bytes, the offsets of \
the lost records, and the finding. A torn tail above the known durable end is not damage: the next start cuts it. Records given up \
with `log repair` are not damage either; they are listed.

Files are opened read-only. While a broker runs on the directory, verify a backup of it instead.

JSON: {\"partitions\",\"bytes\",\"torn_bytes\",\"findings\":[{\"file\",\"bytes\":[from,to] or null,\"offsets\":[from,to] or null,\"what\"}], \
\"given_up\":[{\"topic\",\"partition\",\"offsets\":[from,to],\"at\",\"by\",\"what\",\"kept\",\"bytes\",\"crc32\"}]}

Example:
  grower-cli log verify /var/lib/grower"
)]
pub struct VerifyLogCommand {
    /// The data directory
    dir: PathBuf,
}

impl VerifyLogCommand {
    pub(crate) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let bar = bytes_bar("checked");
        let verified = offline::verify(&self.dir, |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        let mut out = StdoutWriter::open();
        match options.output {
            OutputForm::Json => out.json(&verified_json(&verified, &self.dir))?,
            OutputForm::Table => print(&verified, &self.dir, &mut out)?,
        }
        out.flush()?;
        let dir = self.dir.display();
        match verified.findings.len() {
            0 => Ok(()),
            1 => bail!("{dir} is damaged in 1 place{REPAIR} {dir}`"),
            count => bail!("{dir} is damaged in {count} places{REPAIR} {dir}`"),
        }
    }
}

const REPAIR: &str = "; to see how it is repaired, run `grower-cli log repair";

fn print(verified: &VerifiedDirectory, dir: &Path, out: &mut StdoutWriter) -> io::Result<()> {
    for finding in &verified.findings {
        writeln!(out, "{}", escaped(&finding.to_string()))?;
    }
    let VerifiedDirectory { partitions, bytes, torn_bytes, .. } = verified;
    writeln!(
        out,
        "{} of log in {} checked, metadata included",
        bytes_for_people(*bytes),
        counted(*partitions, "partition")
    )?;
    for (partition, loss) in &verified.accepted {
        super::repair::print_loss(PartitionName::of(dir, partition).as_ref(), loss, out)?;
    }
    if *torn_bytes != 0 {
        writeln!(out, "torn tail of {}, which the next start cuts", counted(*torn_bytes, "byte"))?;
    }
    Ok(())
}

fn verified_json(verified: &VerifiedDirectory, dir: &Path) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.path.display().to_string(),
            "bytes": finding.bytes.as_ref().map(|bytes| [bytes.start, bytes.end]),
            "offsets": finding.offsets.as_ref().map(|offsets| [offsets.start.value(), offsets.end.value()]),
            "what": finding.reason,
        })
    };
    json!({
        "partitions": verified.partitions,
        "bytes": verified.bytes,
        "torn_bytes": verified.torn_bytes,
        "findings": verified.findings.iter().map(finding).collect::<Vec<_>>(),
        "given_up": verified.accepted.iter().map(|(partition, loss)| {
            super::repair::loss_json(PartitionName::of(dir, partition).as_ref(), loss)
        }).collect::<Vec<_>>(),
    })
}
