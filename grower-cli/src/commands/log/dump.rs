//! `log dump FILE`.

use crate::arguments::{Common, Output};
use crate::output::{Out, content, json_line, quoted, rfc3339};
use anyhow::{Context, ensure};
use clap::Args;
use grower_broker::offline::{self, DumpedBatch, DumpedRecord};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use std::io::{self, Write};
use std::path::PathBuf;

/// Print the batches of a segment file with their records
#[derive(Debug, Args)]
#[command(after_help = "FILE is <data-dir>/topics/<topic>/<partition>/<base offset>.growerlog. It may be in use.

JSON, an object for each batch: {\"position\",\"bytes\",\"base_offset\",\"next_offset\",\"leader_epoch\",\"codec\",\"max_timestamp\", \
\"producer\":{\"id\",\"epoch\",\"sequence\"} or null,\"records\":[{\"offset\",\"timestamp\",\"key\",\"value\",\"headers\"}]}. Damage is told on standard \
error, and the exit status is 1 then.")]
pub struct Dump {
    /// The segment file
    file: PathBuf,
}

impl Dump {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let name = self.file.display();
        let mut dump = offline::Dump::open(&self.file).with_context(|| format!("cannot read {name}"))?;
        let mut out = Out::stdout();
        let mut damage = 0;
        for item in dump.by_ref() {
            let printed = item.map_err(|error| error.to_string()).and_then(|batch| match batch.records() {
                Ok(records) => Ok(print(&batch, &records, common.output, &mut out)),
                Err(error) => Err(format!("the records of the batch at byte {}: {error}", batch.position)),
            });
            match printed {
                Ok(printed) => printed?,
                Err(error) => {
                    out.flush()?;
                    damage += 1;
                    eprintln!("{name}: {error}");
                }
            }
        }
        if dump.rest() != 0 && common.output == Output::Table {
            writeln!(out, "{} bytes of room for what comes next", dump.rest())?;
        }
        out.flush()?;
        ensure!(
            damage == 0,
            "{name} is damaged or torn; `grower-cli log verify DIR` says what that means for the data directory"
        );
        Ok(())
    }
}

fn print(batch: &DumpedBatch, records: &[DumpedRecord], output: Output, out: &mut Out) -> io::Result<()> {
    match output {
        Output::Json => json_line(out, &BatchJson { batch, records }),
        Output::Table => print_for_people(batch, records, out),
    }
}

fn print_for_people(batch: &DumpedBatch, records: &[DumpedRecord], out: &mut Out) -> io::Result<()> {
    let header = batch.header();
    let producer = header.producer.map(|stamp| {
        let sequence = stamp.base_sequence.map_or_else(String::new, |sequence| format!(" sequence {sequence}"));
        format!(", producer {} epoch {}{sequence}", stamp.id, stamp.epoch)
    });
    writeln!(
        out,
        "at byte {}: offsets {}..{}, {} bytes, {} records, {}, leader epoch {}{}",
        batch.position,
        header.base_offset,
        header.next_offset(),
        header.total_length,
        header.record_count,
        codec(batch),
        header.leader_epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
        producer.unwrap_or_default(),
    )?;
    let shown = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), quoted);
    records.iter().try_for_each(|record| {
        let (key, value) = (shown(record.key.as_deref()), shown(record.value.as_deref()));
        write!(out, "  {}  {}  key {key}  value {value}", record.offset, rfc3339(record.timestamp))?;
        for header in &record.headers {
            write!(out, "  {}={}", quoted(&header.name), shown(header.value.as_deref()))?;
        }
        writeln!(out)
    })
}

fn codec(batch: &DumpedBatch) -> String {
    batch.header().attributes.codec().map_or_else(|| "unknown".to_owned(), |codec| format!("{codec:?}").to_lowercase())
}

struct BatchJson<'a> {
    batch: &'a DumpedBatch,
    records: &'a [DumpedRecord],
}

impl Serialize for BatchJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = self.batch.header();
        let producer = header.producer.map(|stamp| {
            let sequence = stamp.base_sequence.map(|sequence| sequence.to_wire());
            serde_json::json!({ "id": stamp.id.value(), "epoch": stamp.epoch.value(), "sequence": sequence })
        });
        let mut json = serializer.serialize_struct("Batch", 9)?;
        json.serialize_field("position", &self.batch.position)?;
        json.serialize_field("bytes", &header.total_length)?;
        json.serialize_field("base_offset", &header.base_offset.value())?;
        json.serialize_field("next_offset", &header.next_offset().value())?;
        json.serialize_field("leader_epoch", &header.leader_epoch.map(|epoch| epoch.value()))?;
        json.serialize_field("codec", &codec(self.batch))?;
        json.serialize_field("max_timestamp", &header.max_timestamp.as_millis())?;
        json.serialize_field("producer", &producer)?;
        json.serialize_field("records", &self.records.iter().map(DumpedRecordJson).collect::<Vec<_>>())?;
        json.end()
    }
}

struct DumpedRecordJson<'a>(&'a DumpedRecord);

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
