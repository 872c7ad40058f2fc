//! `log dump FILE`.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::{StdoutWriter, content, json_line, noun, quoted, rfc3339, stderr_line};
use anyhow::ensure;
use clap::Args;
use grower_broker::offline::{self, Batch, Dumped, RecordView};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Print the batches of a segment file with their records
#[derive(Debug, Args)]
#[command(after_help = "FILE is <data-dir>/topics/<topic>/<partition>/<base offset>.growerlog. It may be in use.

JSON, an object for each batch: {\"position\",\"bytes\",\"base_offset\",\"next_offset\",\"leader_epoch\",\"codec\",\"max_timestamp\", \
\"producer\":{\"id\",\"epoch\",\"sequence\"} or null,\"records\":[{\"offset\",\"timestamp\",\"key\",\"value\",\"headers\"}]}. Damage is reported on \
standard error, with exit status 1.")]
pub struct DumpSegmentCommand {
    /// The segment file
    file: PathBuf,
}

impl DumpSegmentCommand {
    pub(crate) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        let (mut out, mut damage, mut printed) = (StdoutWriter::open(), 0, Ok(()));
        offline::dump(&self.file, |dumped| {
            printed = self.print(dumped, options.output, &mut out, &mut damage);
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        printed?;
        out.flush()?;
        let name = self.file.display();
        ensure!(
            damage == 0,
            "{name} is damaged or torn; run `grower-cli log verify DIR` to see which records are lost"
        );
        Ok(())
    }

    fn print(&self, dumped: Dumped, output: OutputForm, out: &mut StdoutWriter, damage: &mut u32) -> io::Result<()> {
        let (bytes, reason) = match dumped {
            Dumped::Batch { position, batch } => match offline::records(&batch) {
                Ok(records) => return print(&DumpedBatch { position, batch, records }, output, out),
                Err(error) => (position..position + batch.header().total_length as u64, error.to_string()),
            },
            Dumped::Damaged { bytes, reason } => (bytes, reason),
            Dumped::Room { bytes } if output == OutputForm::Table => {
                return writeln!(out, "bytes {}..{}: preallocated", bytes.start, bytes.end);
            }
            Dumped::Room { .. } => return Ok(()),
        };
        *damage += 1;
        out.flush()?;
        stderr_line(format_args!("{}: bytes {}..{}: {reason}", self.file.display(), bytes.start, bytes.end));
        Ok(())
    }
}

/// A batch without damage.
struct DumpedBatch {
    position: u64,
    batch: Batch,
    records: Vec<RecordView>,
}

impl DumpedBatch {
    fn codec(&self) -> String {
        let codec = self.batch.header().attributes.codec();
        codec.map_or_else(|| "unknown".to_owned(), |codec| format!("{codec:?}").to_lowercase())
    }
}

fn print(batch: &DumpedBatch, output: OutputForm, out: &mut StdoutWriter) -> io::Result<()> {
    match output {
        OutputForm::Json => json_line(out, batch),
        OutputForm::Table => print_for_people(batch, out),
    }
}

fn print_for_people(batch: &DumpedBatch, out: &mut StdoutWriter) -> io::Result<()> {
    let header = batch.batch.header();
    let producer = header.producer.map(|stamp| {
        let sequence = stamp.base_sequence.map_or_else(String::new, |sequence| format!(" sequence {sequence}"));
        format!(", producer {} epoch {}{sequence}", stamp.id, stamp.epoch)
    });
    writeln!(
        out,
        "at byte {}: offsets {}..{}, {} bytes, {} {}, compression {}, leader epoch {}{}",
        batch.position,
        header.base_offset,
        header.next_offset(),
        header.total_length,
        header.record_count,
        noun(header.record_count.into(), "record"),
        batch.codec(),
        header.leader_epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
        producer.unwrap_or_default(),
    )?;
    let shown = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), quoted);
    batch.records.iter().try_for_each(|record| {
        let (key, value) = (shown(record.key.as_deref()), shown(record.value.as_deref()));
        write!(out, "  {}  {}  key {key}  value {value}", record.offset, rfc3339(record.timestamp))?;
        for header in &record.headers {
            write!(out, "  {}={}", quoted(&header.name), shown(header.value.as_deref()))?;
        }
        writeln!(out)
    })
}

impl Serialize for DumpedBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = self.batch.header();
        let producer = header.producer.map(|stamp| {
            let sequence = stamp.base_sequence.map(|sequence| sequence.to_wire());
            serde_json::json!({ "id": stamp.id.value(), "epoch": stamp.epoch.value(), "sequence": sequence })
        });
        let mut json = serializer.serialize_struct("Batch", 9)?;
        json.serialize_field("position", &self.position)?;
        json.serialize_field("bytes", &header.total_length)?;
        json.serialize_field("base_offset", &header.base_offset.value())?;
        json.serialize_field("next_offset", &header.next_offset().value())?;
        json.serialize_field("leader_epoch", &header.leader_epoch.map(|epoch| epoch.value()))?;
        json.serialize_field("codec", &self.codec())?;
        json.serialize_field("max_timestamp", &header.max_timestamp.as_millis())?;
        json.serialize_field("producer", &producer)?;
        json.serialize_field("records", &self.records.iter().map(DumpedRecordJson).collect::<Vec<_>>())?;
        json.end()
    }
}

struct DumpedRecordJson<'a>(&'a RecordView);

impl Serialize for DumpedRecordJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("offset", &record.offset.value())?;
        map.serialize_entry("timestamp", &record.timestamp.as_millis())?;
        content(&mut map, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
        map.end()
    }
}
