//! The result of a bench, throughput and latencies, for people and for programs.

use super::reader_cost::ReaderCost;
use crate::options::OutputForm;
use crate::output::{StdoutWriter, TextTable, bytes_for_people, counted};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::Duration;

/// A histogram of durations, in microseconds up to an hour.
pub(super) struct LatencyHistogram(Histogram<u64>);

/// The result of a bench.
pub(super) struct BenchResult {
    pub(super) what: &'static str,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) latencies: LatencyHistogram,
    /// The two ends of a latency, for the heading of the table.
    pub(super) latency_of: &'static str,
}

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl LatencyHistogram {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_max(3_600_000_000, 3)?))
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.add_many(took, 1);
    }

    /// Adds the same duration for many records.
    pub(super) fn add_many(&mut self, took: Duration, records: u64) {
        self.0.saturating_record_n(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), records);
    }

    pub(super) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }
}

impl BenchResult {
    /// Prints the result, and what the reading cost.
    pub(super) fn print_with(&self, output: OutputForm, cost: &ReaderCost) -> anyhow::Result<()> {
        let mut out = StdoutWriter::open();
        match output {
            OutputForm::Json => {
                let mut json = self.json();
                json.as_object_mut().into_iter().for_each(|object| object.extend(cost.json()));
                out.json(&json)?;
            }
            OutputForm::Table => {
                self.table(&mut out)?;
                writeln!(out, "\n{}", cost.words())?;
            }
        }
        Ok(out.flush()?)
    }

    /// Prints the result.
    pub(super) fn print(&self, output: OutputForm) -> anyhow::Result<()> {
        let mut out = StdoutWriter::open();
        match output {
            OutputForm::Json => out.json(&self.json())?,
            OutputForm::Table => self.table(&mut out)?,
        }
        Ok(out.flush()?)
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn table(&self, out: &mut StdoutWriter) -> std::io::Result<()> {
        writeln!(
            out,
            "{}: {}, {} in {:.2} s: {:.0} records/s, {:.1} MB/s\n",
            self.what,
            counted(self.records, "record"),
            bytes_for_people(self.bytes),
            self.took.as_secs_f64(),
            self.per_second(self.records),
            self.per_second(self.bytes) / 1e6,
        )?;
        let mut table = TextTable::new(["LATENCY", self.latency_of]);
        for (name, quantile) in QUANTILES {
            let millis = self.latencies.0.value_at_quantile(quantile) as f64 / 1000.0;
            table.row([name.to_owned(), format!("{millis:.3} ms")]);
        }
        table.print(out)
    }

    fn json(&self) -> Value {
        let quantile = |(name, q): (&str, f64)| (name.to_owned(), json!(self.latencies.0.value_at_quantile(q)));
        json!({
            "bench": self.what,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": self.took.as_secs_f64(),
            "records_per_second": self.per_second(self.records),
            "bytes_per_second": self.per_second(self.bytes),
            "latency_us": QUANTILES.map(quantile).into_iter().collect::<Map<_, _>>(),
        })
    }
}
