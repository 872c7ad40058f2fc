//! The cost of reading for this process: the time until the first record, processor time and memory.

use crate::output::bytes_for_people;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Measures a reader from the time at which its consumer is built.
pub(super) struct ReaderMeter {
    began: Instant,
    first: Option<FirstPoll>,
}

/// The state at the return of the first poll.
struct FirstPoll {
    at: Instant,
    processor_time: Duration,
    bytes: u64,
}

/// The cost of reading.
pub(super) struct ReaderCost {
    /// From the start until the first poll returns.
    until_first: Duration,
    /// From the first poll's return to the last record.
    after_first: Duration,
    bytes_after_first: u64,
    processor_time_after_first: Duration,
    /// Processor time of the whole process.
    processor_time: Duration,
    /// None where the system does not say.
    peak_memory: Option<u64>,
}

impl ReaderMeter {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), first: None }
    }

    /// Notes that a poll has returned records; `bytes` counts all so far.
    pub(super) fn polled(&mut self, bytes: u64) {
        self.first.get_or_insert_with(|| FirstPoll { at: Instant::now(), processor_time: processor_time(), bytes });
    }

    /// Returns the cost; `bytes` counts all records.
    pub(super) fn stop(self, bytes: u64) -> ReaderCost {
        let (now, processor_time) = (Instant::now(), processor_time());
        let first = self.first.unwrap_or(FirstPoll { at: now, processor_time, bytes });
        ReaderCost {
            until_first: first.at - self.began,
            after_first: now - first.at,
            bytes_after_first: bytes - first.bytes,
            processor_time_after_first: processor_time.saturating_sub(first.processor_time),
            processor_time,
            peak_memory: peak_memory(),
        }
    }
}

impl ReaderCost {
    pub(super) fn json(&self) -> Map<String, Value> {
        let after_first = json!({
            "seconds": self.after_first.as_secs_f64(),
            "bytes": self.bytes_after_first,
            "processor_seconds": self.processor_time_after_first.as_secs_f64(),
        });
        let fields = [
            ("first_record_seconds", json!(self.until_first.as_secs_f64())),
            ("after_first_record", after_first),
            ("processor_seconds", json!(self.processor_time.as_secs_f64())),
            ("peak_memory_bytes", json!(self.peak_memory)),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }

    pub(super) fn words(&self) -> String {
        let memory = self.peak_memory.map(|bytes| format!(", peak memory {}", bytes_for_people(bytes)));
        format!(
            "first record after {:.1} ms; processor time {:.2} s{}",
            self.until_first.as_secs_f64() * 1e3,
            self.processor_time.as_secs_f64(),
            memory.unwrap_or_default(),
        )
    }
}

/// Returns the processor time of this process.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Returns the peak memory of this process, from a file that Linux has.
fn peak_memory() -> Option<u64> {
    peak_memory_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_memory_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_poll_counts_apart_from_the_rest() {
        let mut meter = ReaderMeter::start();
        meter.polled(100);
        meter.polled(300);
        let json = meter.stop(300).json();
        assert_eq!(json["after_first_record"]["bytes"], 200);
        assert!(json["first_record_seconds"].as_f64().unwrap() < 1.0);
        let only_one = ReaderMeter::start().stop(0).json();
        assert_eq!(only_one["after_first_record"]["seconds"], 0.0);
    }

    #[test]
    fn the_peak_of_memory_is_read_in_kibibytes() {
        assert_eq!(peak_memory_in("VmPeak:\t  90 kB\nVmHWM:\t    1024 kB\n"), Some(1 << 20));
        assert_eq!(peak_memory_in("VmPeak:\t  90 kB\n"), None);
    }
}
