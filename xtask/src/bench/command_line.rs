//! `grower-cli bench` as users run it: a process of its own, so that its processor time and memory are its own.

use super::bench_broker::BenchBroker;
use anyhow::{Context, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The command line, connected to one broker.
#[derive(Clone, Copy)]
pub(super) struct CommandLine<'a> {
    pub(super) program: &'a Path,
    pub(super) broker: &'a BenchBroker,
}

/// The result of `bench produce` and `bench end-to-end`.
#[derive(Debug, Deserialize)]
pub(super) struct LoadResult {
    records: u64,
    pub(super) records_per_second: f64,
    pub(super) bytes_per_second: f64,
    latency_us: LatencyMicros,
}

#[derive(Debug, Deserialize)]
struct LatencyMicros {
    p50: f64,
    p99: f64,
}

impl LoadResult {
    pub(super) fn p50(&self) -> Duration {
        Duration::from_secs_f64(self.latency_us.p50 / 1e6)
    }

    pub(super) fn p99(&self) -> Duration {
        Duration::from_secs_f64(self.latency_us.p99 / 1e6)
    }
}

/// The result of `bench consume`.
#[derive(Debug, Deserialize)]
pub(super) struct ReadResult {
    records: u64,
    bytes_per_second: f64,
    /// Includes finding the positions and joining the group.
    first_record_seconds: f64,
    after_first_record: AfterFirstRecord,
    /// Processor time of the process.
    pub(super) processor_seconds: f64,
    pub(super) peak_memory_bytes: u64,
}

/// The part of the reading that follows the first poll.
#[derive(Debug, Deserialize)]
struct AfterFirstRecord {
    seconds: f64,
    bytes: u64,
    processor_seconds: f64,
}

impl ReadResult {
    pub(super) fn until_first(&self) -> Duration {
        Duration::from_secs_f64(self.first_record_seconds)
    }

    /// Bytes a second after the first poll. Few records arrive all in the first poll: then those of the whole reading.
    pub(super) fn rate(&self) -> f64 {
        let AfterFirstRecord { seconds, bytes, .. } = self.after_first_record;
        if bytes == 0 { self.bytes_per_second } else { bytes as f64 / seconds }
    }

    /// Processor time in relation to the time, after the first poll. More than one thread can exceed 1.
    pub(super) fn busy_share(&self) -> f64 {
        let AfterFirstRecord { seconds, processor_seconds, .. } = self.after_first_record;
        if seconds == 0.0 { 1.0 } else { processor_seconds / seconds }
    }
}

impl CommandLine<'_> {
    /// Writes this many records.
    pub(super) async fn produce(&self, topic: &str, records: u64, arguments: &[&str]) -> anyhow::Result<LoadResult> {
        self.load("produce", topic, records, arguments).await
    }

    /// Sends this many records one by one through the broker to a consumer.
    pub(super) async fn end_to_end(&self, topic: &str, records: u64, arguments: &[&str]) -> anyhow::Result<LoadResult> {
        self.load("end-to-end", topic, records, arguments).await
    }

    async fn load(&self, bench: &str, topic: &str, records: u64, arguments: &[&str]) -> anyhow::Result<LoadResult> {
        let count = records.to_string();
        let mut all = vec!["bench", bench, "--topic", topic, "--records", &count];
        all.extend(arguments);
        let result: LoadResult = self.result(&all).await?;
        ensure!(result.records == records, "{} of {records} records were sent", result.records);
        Ok(result)
    }

    /// Reads the topic from beginning to end and expects this many records.
    pub(super) async fn consume(&self, topic: &str, records: u64, arguments: &[&str]) -> anyhow::Result<ReadResult> {
        let mut all = vec!["bench", "consume", "--topic", topic];
        all.extend(arguments);
        let result: ReadResult = self.result(&all).await?;
        ensure!(result.records == records, "{topic} held {} records instead of {records}", result.records);
        Ok(result)
    }

    async fn result<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let output = self.command(arguments).args(["--output", "json"]).output().await;
        let output = output.with_context(|| format!("cannot start {}", self.program.display()))?;
        let command = arguments.join(" ");
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        serde_json::from_slice(&output.stdout).with_context(|| format!("the output of {command}"))
    }

    /// The command with these arguments. It is killed when dropped.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(["--broker", &self.broker.address, "--timeout", "120s"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_result(after_first_record: &str) -> ReadResult {
        let json = r#"{"records":10,"bytes_per_second":50.0,"first_record_seconds":0.5,"processor_seconds":1.0,
            "peak_memory_bytes":1,"after_first_record":"#;
        serde_json::from_str(&format!("{json}{after_first_record}}}")).unwrap()
    }

    #[test]
    fn rate_and_share_leave_out_the_first_poll() {
        let reading = read_result(r#"{"seconds":2.0,"bytes":600,"processor_seconds":1.5}"#);
        assert_eq!((reading.rate(), reading.busy_share()), (300.0, 0.75));
        assert_eq!(reading.until_first(), Duration::from_millis(500));
    }

    #[test]
    fn a_reading_of_one_poll_has_the_rate_of_the_whole() {
        assert_eq!(read_result(r#"{"seconds":0.0,"bytes":0,"processor_seconds":0.0}"#).rate(), 50.0);
    }
}
