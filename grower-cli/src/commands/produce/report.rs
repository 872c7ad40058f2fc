//! Reports the outcome of lines: an object for each ack or a summary, and every refused line by its number.

use crate::options::OutputForm;
use crate::output::{StdoutWriter, bytes_for_people, counted, escaped, json_line, reader_left, stderr_line};
use anyhow::bail;
use grower_client::{Ack, Durability};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Instant;

/// Counts and prints outcomes.
pub(super) struct ProduceReport {
    out: StdoutWriter,
    output: OutputForm,
    topic: String,
    began: Instant,
    records: u64,
    bytes: u64,
    weakest: Option<Durability>,
    refused: u64,
    first_refused: Option<u64>,
}

/// An acknowledged line as JSON.
#[derive(Serialize)]
struct AckJson<'a> {
    topic: &'a str,
    partition: u32,
    offset: Option<u64>,
    timestamp: i64,
    line: u64,
    durability: &'static str,
}

/// The answer to an expected end that is not the partition's, as JSON.
#[derive(Serialize)]
struct UnexpectedEndJson<'a> {
    topic: &'a str,
    partition: u32,
    expected_end: u64,
    end: u64,
}

impl ProduceReport {
    pub(super) fn new(output: OutputForm, topic: &str) -> Self {
        Self {
            out: StdoutWriter::open(),
            output,
            topic: topic.to_owned(),
            began: Instant::now(),
            records: 0,
            bytes: 0,
            weakest: None,
            refused: 0,
            first_refused: None,
        }
    }

    /// Reports an acknowledged line.
    pub(super) fn add_acknowledged(&mut self, line: u64, bytes: u64, ack: &Ack) -> io::Result<()> {
        self.records += 1;
        self.bytes += bytes;
        self.weakest = Some(self.weakest.map_or(ack.durability, |weakest| weakest.min(ack.durability)));
        if self.output == OutputForm::Table {
            return Ok(());
        }
        let ack = AckJson {
            topic: ack.topic.as_str(),
            partition: ack.partition.value(),
            offset: ack.offset.map(|offset| offset.value()),
            timestamp: ack.timestamp.as_millis(),
            line,
            durability: durability_name(ack.durability),
        };
        json_line(&mut self.out, &ack)
    }

    /// Prints the end of a partition that does not end where it must; people read it in the error.
    pub(super) fn end_unexpectedly(mut self, partition: u32, expected_end: u64, end: u64) -> io::Result<()> {
        if self.output == OutputForm::Json {
            json_line(&mut self.out, &UnexpectedEndJson { topic: &self.topic, partition, expected_end, end })?;
        }
        self.out.flush()
    }

    /// Reports a refused line.
    pub(super) fn add_refused(&mut self, line: u64, why: &dyn std::fmt::Display) {
        self.refused += 1;
        self.first_refused.get_or_insert(line);
        stderr_line(format_args!("line {line} {}", escaped(&why.to_string())));
    }

    /// Returns once the reader of printed acks is gone.
    pub(super) fn ack_reader_gone(&self) -> impl Future<Output = ()> + use<> {
        let prints_acks = self.output == OutputForm::Json;
        async move { if prints_acks { reader_left().await } else { std::future::pending().await } }
    }

    /// Flushes, for a program that waits for acks.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The number of acknowledged lines.
    pub(super) fn acknowledged_lines(&self) -> u64 {
        self.records
    }

    /// Prints the summary. Fails if a line was refused.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if self.output == OutputForm::Table {
            self.summary()?;
        }
        self.end()
    }

    /// Ends without a summary. Fails if a line was refused.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.out.flush()?;
        if let Some(first) = self.first_refused {
            let acknowledged = counted(self.records, "line");
            match self.refused {
                1 => bail!("line {first} was refused; acknowledged: {acknowledged}"),
                refused => {
                    bail!("{refused} lines were refused, first line {first}; acknowledged: {acknowledged}")
                }
            }
        }
        Ok(())
    }

    fn summary(&mut self) -> io::Result<()> {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-6);
        writeln!(
            self.out,
            "{}: {}, {} in {seconds:.2} s ({:.0} records/s, {}/s), {}",
            self.topic,
            counted(self.records, "record"),
            bytes_for_people(self.bytes),
            self.records as f64 / seconds,
            bytes_for_people((self.bytes as f64 / seconds) as u64),
            self.weakest.map_or("nothing to acknowledge", durability_for_people),
        )
    }
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "none",
        Durability::Written => "written",
        Durability::Fsynced => "fsynced",
    }
}

fn durability_for_people(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "sent and not acknowledged",
        Durability::Written => "all acknowledged: written, not fsynced",
        Durability::Fsynced => "all acknowledged: fsynced",
    }
}
