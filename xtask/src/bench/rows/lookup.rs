//! `lookup`: an offset or a time in a segment of single-record batches, measured by the bench of the storage.

use super::RowContext;
use crate::bench::report::{BenchReport, median};
use crate::workspace::cargo;
use anyhow::{Context, ensure};
use std::process::Stdio;

/// Adds the slower of both kinds, in the larger of two segments.
pub(super) fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["bench", "--quiet", "--package", "grower-storage", "--bench", "lookup", "--"]);
    command.arg(context.directory).arg(context.amounts.lookup_mib.to_string());
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the lookup bench failed: {}", output.status);
    read(&String::from_utf8(output.stdout)?, context.amounts.lookup_mib, report)
}

/// Parses lines with the kind, the size of the segment in MiB, and the duration of one lookup in nanoseconds.
fn read(lines: &str, mib: u64, report: &mut BenchReport) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, size, "MiB", nanos, "ns"] = fields.as_slice() else { continue };
        found.push(((*kind).to_owned(), size.parse::<u64>()?, nanos.parse::<f64>()? / 1000.0));
    }
    let of = |kind: &str, size| {
        let times = found.iter().filter(|(k, s, _)| k == kind && *s == size).map(|(_, _, micros)| *micros);
        median(times.collect()).with_context(|| format!("no lookup by {kind} in {size} MiB was reported"))
    };
    let slower = of("offset", mib)?.max(of("time", mib)?);
    report.add("lookup", slower, "us");
    for kind in ["offset", "time"] {
        report.add(format!("lookup-{kind}"), of(kind, mib)?, "us");
        report.add(format!("lookup-{kind}-in-a-tenth"), of(kind, mib / 10)?, "us");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_kind_is_reported() {
        let lines = "offset 102 MiB 800 ns\ntime 102 MiB 1300 ns\nwarming up\noffset 1024 MiB 900 ns\n\
                     time 1024 MiB 1400 ns\ntime 1024 MiB 9400 ns\ntime 1024 MiB 1200 ns\n";
        let mut report = BenchReport::default();
        read(lines, 1024, &mut report).unwrap();
        let figures: Vec<_> =
            report.medians().into_iter().map(|figure| format!("{} {}", figure.name, figure.value)).collect();
        insta::assert_snapshot!(figures.join("\n"), @r"
        lookup 1.4
        lookup-offset 0.9
        lookup-offset-in-a-tenth 0.8
        lookup-time 1.4
        lookup-time-in-a-tenth 1.3
        ");
        assert!(read(lines, 2048, &mut report).is_err(), "a size that was not measured");
    }
}
