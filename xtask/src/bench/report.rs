//! The figures of all rounds, and their medians.

use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One figure of one round, or a median.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// Of the limit that was measured in the same round; 1 is as good as can be.
    ratio: Option<f64>,
}

impl Figure {
    /// A figure that has no limit.
    pub(super) fn plain(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, ratio: None }
    }

    /// A time, which is better the smaller it is.
    pub(super) fn latency(name: &str, ours: Duration, limit: Duration) -> Self {
        let ratio = Some(limit.as_secs_f64() / ours.as_secs_f64());
        Self { name: name.to_owned(), value: ours.as_secs_f64() * 1e6, unit: "us", ratio }
    }
}

/// All figures.
pub(super) struct Report {
    figures: Vec<Figure>,
    neighbours: f64,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { figures: Vec::new(), neighbours: 0.0 }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a throughput, in MB/s (10^6 bytes of values) and in records/s, with the limit that moved as many bytes.
    pub(super) fn add_to(&mut self, name: &str, bytes: u64, records: u64, ours: Duration, limit: Duration) {
        let per_second = |count: u64, took: Duration| count as f64 / took.as_secs_f64();
        let ratio = Some(limit.as_secs_f64() / ours.as_secs_f64());
        let figure = |kind: &str, value, unit, ratio| Figure { name: format!("{name}{kind}"), value, unit, ratio };
        self.add(figure("", per_second(bytes, ours) / 1e6, "MB/s", ratio));
        self.add(figure("_records", per_second(records, ours), "records/s", None));
        self.add(figure("_limit", per_second(bytes, limit) / 1e6, "MB/s", None));
    }

    /// Processor seconds that neither broker nor bench used during a round.
    pub(super) fn neighbours(&mut self, seconds: f64) {
        self.neighbours += seconds;
    }

    /// The median of each figure over the rounds, in the order they came.
    fn medians(&self) -> Vec<Figure> {
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
            let mut values: Vec<f64> = self.figures.iter().filter(|f| f.name == name).filter_map(pick).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let like = self.figures.iter().find(|figure| figure.name == name)?;
        Some(Figure { value: of(|f| Some(f.value))?, ratio: of(|f| f.ratio), ..like.clone() })
    }

    /// Prints the medians.
    pub(super) fn print(&self) {
        for figure in self.medians() {
            let ratio = figure.ratio.map(|ratio| format!("  {ratio:.2} of the limit")).unwrap_or_default();
            println!("{:<24} {:>12.1} {:<10}{ratio}", figure.name, figure.value, figure.unit);
        }
        if 1.0 < self.neighbours {
            println!(
                "something else used {:.1} s of processor time meanwhile: measure again when it is gone",
                self.neighbours
            );
        }
    }

    /// Writes the medians as JSON.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(&self.medians())?;
        fs::write(file, json + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_told_is_the_median_with_the_median_ratio() {
        let mut report = Report::new();
        for seconds in [1, 9, 2] {
            report.add_to("produce", 10_000_000, 1000, Duration::from_secs(seconds), Duration::from_secs(1));
        }
        let told = serde_json::to_string(&report.medians()[0]).unwrap();
        insta::assert_snapshot!(told, @r#"{"name":"produce","value":5.0,"unit":"MB/s","ratio":0.5}"#);
    }
}
