//! `log repair DIR`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, bytes_bar, counted, escaped, rfc3339};
use anyhow::{bail, ensure};
use clap::Args;
use grower_broker::offline::repair::{
    self, Acceptance, AcceptedLoss, Damage, LossRange, PartitionName, Survey, this_user,
};
use grower_broker::{Clock, SystemClock};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// Give up damaged records that have no other copy
///
/// Without --accept-loss nothing is changed: the command lists the damage, how each part is repaired, and the command
/// line that gives up what cannot be saved. With --accept-loss, exactly the damaged records within the ranges are
/// given up: their bytes are kept under `cut/`, an audit record names the person and the time, and the rest of the
/// partition is served. Offsets keep their meaning; consumers skip the gap. Undamaged records are never given up.
#[derive(Debug, Args)]
#[command(
    after_long_help = "No broker may run on the directory. The same command finishes an interrupted repair, and so does a start of the broker. \
Damaged metadata cannot be given up: restore a backup.

Exit status: 0 if nothing is damaged or the repair is complete; 1 if damage remains.

JSON, without --accept-loss: {\"lost_partitions\":[{\"topic\",\"partition\"}],\"lost\":[{\"topic\",\"partition\",\"offsets\":[from,to],\"file\",\"bytes\":[from,to],\"what\"}], \
\"costs_nothing\":[{\"file\",\"what\"}],\"beyond_repair\":[{\"file\",\"what\"}]}. With it: {\"dry_run\",\"given_up\":[{\"topic\",\"partition\", \
\"offsets\":[from,to],\"at\",\"by\",\"what\",\"kept\",\"bytes\",\"crc32\"}],\"lost_partitions\":[{\"topic\",\"partition\"}],\"indexes_rebuilt\":[file]}

Examples:
  grower-cli log repair /var/lib/grower
  grower-cli log repair /var/lib/grower --accept-loss events/0:4..9 --accept-loss events/2:17..18"
)]
pub struct RepairLogCommand {
    /// The data directory
    dir: PathBuf,
    /// Give up the damaged records in this range of offsets, END excluded; may be repeated
    #[arg(long, value_name = "TOPIC/PARTITION:START..END")]
    accept_loss: Vec<LossRange>,
    /// Give up a partition that has lost all its files: it starts empty, at offset 0; may be repeated
    #[arg(long, value_name = "TOPIC/PARTITION")]
    accept_lost_partition: Vec<PartitionName>,
    /// Rebuild damaged and missing indexes from their logs; no record is lost
    #[arg(long)]
    rebuild_indexes: bool,
    /// List what would be given up, and change nothing
    #[arg(long, conflicts_with = "rebuild_indexes")]
    dry_run: bool,
}

impl RepairLogCommand {
    pub(crate) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let mut out = StdoutWriter::open();
        if self.accept_loss.is_empty() && self.accept_lost_partition.is_empty() && !self.rebuild_indexes {
            return self.list(options.output, &mut out); // Changes nothing, with or without --dry-run.
        }
        if self.dry_run {
            let directory = repair::DirectoryRepair::open_to_look(&self.dir)?;
            let lost = directory.would_lose(&self.accept_loss)?;
            directory.check_lost(&self.accept_lost_partition)?;
            return print_dry_run(&lost, &self.accept_lost_partition, options.output, &mut out);
        }
        let directory = repair::DirectoryRepair::open(&self.dir)?;
        let acceptance = Acceptance { by: this_user(), at: SystemClock.wall() };
        let accepted = directory.accept_loss(&self.accept_loss, &acceptance)?;
        let partitions = directory.accept_lost_partitions(&self.accept_lost_partition, &acceptance)?;
        let rebuilt = if self.rebuild_indexes { directory.rebuild_indexes()? } else { Vec::new() };
        let partitions: Vec<_> = self.accept_lost_partition.iter().zip(partitions).collect();
        print_done(&accepted, &partitions, &rebuilt, options.output, &mut out)?;
        Ok(())
    }

    fn list(&self, output: OutputForm, out: &mut StdoutWriter) -> anyhow::Result<()> {
        let bar = bytes_bar("checked");
        let survey = repair::survey(&self.dir, |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        match output {
            OutputForm::Json => out.json(&survey_json(&survey))?,
            OutputForm::Table => self.print_survey(&survey, out)?,
        }
        out.flush()?;
        ensure!(survey.beyond_repair.is_empty(), "the metadata of {} is damaged: restore a backup", self.dir.display());
        if !(survey.lost.is_empty() && survey.lost_partitions.is_empty() && survey.without_loss.is_empty()) {
            bail!("{} is damaged; nothing was changed", self.dir.display());
        }
        Ok(())
    }

    fn print_survey(&self, survey: &Survey, out: &mut StdoutWriter) -> io::Result<()> {
        let dir = self.dir.display().to_string();
        for finding in &survey.beyond_repair {
            writeln!(out, "{}", escaped(&finding.to_string()))?;
        }
        for (range, damaged) in &survey.lost {
            print_damage(&range.partition, damaged, out)?;
        }
        for partition in &survey.lost_partitions {
            let line = format!(
                "{partition}: all records are lost: the files are missing. Put them back if they are elsewhere"
            );
            writeln!(out, "{}", escaped(&line))?;
        }
        for finding in &survey.without_loss {
            writeln!(out, "{}: no record is lost", escaped(&finding.to_string()))?;
        }
        if !survey.lost.is_empty() || !survey.lost_partitions.is_empty() {
            let ranges = survey.lost.iter().map(|(range, _)| format!(" --accept-loss {range}"));
            let whole = survey.lost_partitions.iter().map(|partition| format!(" --accept-lost-partition {partition}"));
            let ranges: String = ranges.chain(whole).collect();
            writeln!(
                out,
                "\nIf there is no backup and no other copy, this gives up the damaged records and keeps all others:"
            )?;
            writeln!(out, "  grower-cli log repair {}{}", escaped(&dir), escaped(&ranges))?;
        }
        if !survey.without_loss.is_empty() {
            writeln!(
                out,
                "\nA start of the broker rebuilds most files of which no record is lost; this rebuilds indexes:"
            )?;
            writeln!(out, "  grower-cli log repair {} --rebuild-indexes", escaped(&dir))?;
        }
        Ok(())
    }
}

fn print_damage(partition: &PartitionName, damaged: &Damage, out: &mut StdoutWriter) -> io::Result<()> {
    let Damage { path, offsets, reason, .. } = damaged;
    let line =
        format!("{partition}: offsets {}..{} are lost: {reason} ({})", offsets.start, offsets.end, path.display());
    writeln!(out, "{}", escaped(&line))
}

fn print_dry_run(
    lost: &[(PartitionName, Damage)],
    partitions: &[PartitionName],
    output: OutputForm,
    out: &mut StdoutWriter,
) -> anyhow::Result<()> {
    match output {
        OutputForm::Json => {
            let lost: Vec<_> = lost.iter().map(|(partition, lost)| damage_json(partition, lost)).collect();
            let partitions: Vec<_> = partitions.iter().map(lost_partition_json).collect();
            out.json(
                &json!({"dry_run": true, "given_up": lost, "lost_partitions": partitions, "indexes_rebuilt": []}),
            )?;
        }
        OutputForm::Table if lost.is_empty() && partitions.is_empty() => {
            writeln!(out, "everything was given up before")?
        }
        OutputForm::Table => {
            lost.iter().try_for_each(|(partition, lost)| print_damage(partition, lost, out))?;
            for partition in partitions {
                let line = format!("{partition}: all records are lost: the files are missing");
                writeln!(out, "{}", escaped(&line))?;
            }
            writeln!(out, "dry run: this would be given up; nothing was changed")?;
        }
    }
    Ok(out.flush()?)
}

fn print_done(
    accepted: &[(PartitionName, AcceptedLoss)],
    partitions: &[(&PartitionName, PathBuf)],
    rebuilt: &[PathBuf],
    output: OutputForm,
    out: &mut StdoutWriter,
) -> io::Result<()> {
    match output {
        OutputForm::Json => {
            let losses: Vec<_> = accepted.iter().map(|(partition, loss)| loss_json(Some(partition), loss)).collect();
            let rebuilt: Vec<_> = rebuilt.iter().map(|path| path.display().to_string()).collect();
            let partitions: Vec<_> = partitions.iter().map(|(partition, _)| lost_partition_json(partition)).collect();
            out.json(&json!({"dry_run": false, "given_up": losses, "lost_partitions": partitions, "indexes_rebuilt": rebuilt}))
        }
        OutputForm::Table => {
            accepted.iter().try_for_each(|(partition, loss)| print_loss(Some(partition), loss, out))?;
            for (partition, record) in partitions {
                let line = format!("{partition}: given up, starts empty; recorded in {}", record.display());
                writeln!(out, "{}", escaped(&line))?;
            }
            for path in rebuilt {
                writeln!(out, "{}: rebuilt", escaped(&path.display().to_string()))?;
            }
            if accepted.is_empty() && partitions.is_empty() && rebuilt.is_empty() {
                writeln!(out, "nothing left to do")?;
            }
            out.flush()
        }
    }
}

/// One line about an accepted loss.
pub(super) fn print_loss(
    partition: Option<&PartitionName>,
    loss: &AcceptedLoss,
    out: &mut StdoutWriter,
) -> io::Result<()> {
    let AcceptedLoss { offsets, at, by, reason, kept, bytes, .. } = loss;
    let topic_partition = partition.map_or_else(|| "metadata".to_owned(), ToString::to_string);
    let kept =
        if kept.is_empty() { String::new() } else { format!("; {} kept in cut/{kept}", counted(*bytes, "byte")) };
    let line = format!(
        "{topic_partition}: offsets {}..{} were given up at {} by {by}: {reason}{kept}",
        offsets.start,
        offsets.end,
        rfc3339(*at)
    );
    writeln!(out, "{}", escaped(&line))
}

/// The same as JSON.
pub(super) fn loss_json(partition: Option<&PartitionName>, loss: &AcceptedLoss) -> Value {
    json!({
        "topic": partition.map(|partition| &partition.topic),
        "partition": partition.map(|partition| partition.partition),
        "offsets": [loss.offsets.start.value(), loss.offsets.end.value()],
        "at": loss.at.as_millis(),
        "by": loss.by,
        "what": loss.reason,
        "kept": (!loss.kept.is_empty()).then_some(&loss.kept),
        "bytes": loss.bytes,
        "crc32": format!("{:08x}", loss.crc),
    })
}

fn lost_partition_json(partition: &PartitionName) -> Value {
    json!({"topic": partition.topic, "partition": partition.partition})
}

fn damage_json(partition: &PartitionName, damaged: &Damage) -> Value {
    json!({
        "topic": partition.topic,
        "partition": partition.partition,
        "offsets": [damaged.offsets.start.value(), damaged.offsets.end.value()],
        "file": damaged.path.display().to_string(),
        "bytes": [damaged.bytes.start, damaged.bytes.end],
        "what": damaged.reason,
    })
}

fn survey_json(survey: &Survey) -> Value {
    let finding = |finding: &grower_broker::offline::Finding| json!({"file": finding.path.display().to_string(), "what": finding.reason});
    json!({
        "lost_partitions": survey.lost_partitions.iter().map(lost_partition_json).collect::<Vec<_>>(),
        "lost": survey.lost.iter().map(|(range, damaged)| damage_json(&range.partition, damaged)).collect::<Vec<_>>(),
        "costs_nothing": survey.without_loss.iter().map(finding).collect::<Vec<_>>(),
        "beyond_repair": survey.beyond_repair.iter().map(finding).collect::<Vec<_>>(),
    })
}
