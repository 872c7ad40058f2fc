//! The figures of all rounds, and their medians.

use super::demands::Demand;
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One figure of one round, or a median.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// The value divided by that of the limit, or of another base, in the same round.
    pub(super) ratio: Option<f64>,
}

/// All figures.
#[derive(Default)]
pub(super) struct BenchReport {
    figures: Vec<Figure>,
    /// Processor seconds of other programs during the rounds.
    other_cpu_seconds: f64,
    /// The duration of each row, unmeasured work included.
    durations: Vec<(&'static str, Duration)>,
}

impl BenchReport {
    /// Adds a figure without a limit.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit, ratio: None });
    }

    /// Adds a figure with that of the limit program, or of another base.
    pub(super) fn add_with_limit(&mut self, name: impl Into<String>, value: f64, unit: &'static str, limit: f64) {
        self.figures.push(Figure { name: name.into(), value, unit, ratio: Some(value / limit) });
    }

    /// Adds the processor seconds that other programs used during a round.
    pub(super) fn add_other_cpu_seconds(&mut self, seconds: f64) {
        self.other_cpu_seconds += seconds.max(0.0);
    }

    /// Adds the duration of a row.
    pub(super) fn add_duration(&mut self, row: &'static str, took: Duration) {
        match self.durations.iter_mut().find(|(name, _)| *name == row) {
            Some((_, before)) => *before += took,
            None => self.durations.push((row, took)),
        }
    }

    /// Returns the median of each figure over the rounds, in the order of first appearance.
    pub(super) fn medians(&self) -> Vec<Figure> {
        let mut names: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        names.into_iter().filter_map(|name| self.median(name)).collect()
    }

    fn median(&self, name: &str) -> Option<Figure> {
        let of = |pick: fn(&Figure) -> Option<f64>| {
            median(self.figures.iter().filter(|figure| figure.name == name).filter_map(pick).collect())
        };
        let like = self.figures.iter().find(|figure| figure.name == name)?;
        Some(Figure { value: of(|f| Some(f.value))?, ratio: of(|f| f.ratio), ..like.clone() })
    }

    /// Prints the medians and their demands.
    pub(super) fn print(&self) {
        print!("{}", table(&self.medians()));
        if 1.0 < self.other_cpu_seconds {
            let seconds = self.other_cpu_seconds;
            println!("other programs used {seconds:.1} s of processor time meanwhile: measure again without them");
        }
    }

    /// Prints the duration of each row.
    pub(super) fn print_timings(&self) {
        let seconds = |took: &Duration| format!("{:>6.1} s", took.as_secs_f64());
        for (row, took) in &self.durations {
            println!("{row:<36} {}", seconds(took));
        }
        println!("{:<36} {}", "all", seconds(&self.durations.iter().map(|(_, took)| *took).sum()));
    }

    /// Writes the medians as JSON.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(&self.medians())?;
        fs::write(file, json + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Returns the median; none without values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<36} {:>12} {:<10} {:>6}  must reach\n", "name", "value", "unit", "ratio");
    for figure in figures {
        let ratio = figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let (must, missed) = Demand::of(figure, figures);
        let value = if figure.value < 10.0 { format!("{:.3}", figure.value) } else { format!("{:.1}", figure.value) };
        let line = format!("{:<36} {value:>12} {:<10} {ratio:>6}  {must}", figure.name, figure.unit);
        text += line.trim_end();
        text += if missed { "  MISSED\n" } else { "\n" };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_the_median_ratio() {
        let mut report = BenchReport::default();
        for value in [1.0, 9.0, 2.0] {
            report.add_with_limit("produce", value, "MB/s", 4.0);
        }
        let medians = serde_json::to_string(&report.medians()).unwrap();
        insta::assert_snapshot!(medians, @r#"[{"name":"produce","value":2.0,"unit":"MB/s","ratio":0.5}]"#);
    }

    #[test]
    fn a_figure_shows_its_demand_and_marks_a_miss() {
        let mut report = BenchReport::default();
        report.add_with_limit("produce-1k-1", 950.0, "MB/s", 2000.0);
        report.add("produce-1k-1-peak-memory", 40.25, "MiB");
        report.add("idle", 12.5, "MiB");
        report.add_with_limit("four-producers-100b-p99", 60.0, "ms", 20.0);
        report.add_with_limit("partitions-10000-end-to-end", 0.66, "ms", 0.3);
        report.add("partitions-10000-end-to-end-of-1", 0.3, "ms");
        report.add("single-all-round-trip", 0.05, "ms");
        report.add("single-all-fdatasync", 0.1, "ms");
        report.add_with_limit("single-all", 0.19, "ms", 0.15);
        insta::assert_snapshot!(table(&report.medians()));
    }
}
