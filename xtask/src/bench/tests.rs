//! Runs every row once with real work and tiny amounts.

use super::*;
use bench_broker::BenchBroker;
use grower_broker::{Broker, BrokerConfig};

/// Runs work against a broker inside this process.
pub(super) fn with_broker(work: impl AsyncFnOnce(&BenchBroker) -> anyhow::Result<()>) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(directory.path());
    config.disk_reserve_bytes = Some(1 << 20);
    (config.listen, config.http) = (Some("127.0.0.1:0".parse().unwrap()), None);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(config).await.unwrap();
        let address = broker.listen_address().unwrap().to_string();
        work(&BenchBroker { address, process: std::process::id() }).await.unwrap();
        broker.stop().await.unwrap();
    });
}

#[test]
fn every_load_reports_a_figure_of_its_name_and_a_round_leaves_no_topic() {
    let (directory, amounts) = (tempfile::tempdir().unwrap(), Amounts::tiny());
    with_broker(async |broker| {
        let mut report = BenchReport::default();
        let (program, command_line, directory) = (Path::new("none"), &debug_build("grower-cli"), directory.path());
        let context = RowContext { broker, program, command_line, directory, amounts: &amounts, round: 0 };
        for row in ROWS.iter().filter(|row| row.is_load()) {
            row.measure(context, &mut report).await.with_context(|| row.name())?;
            let figures = report.medians();
            assert!(figures.iter().any(|figure| figure.name == row.name() && 0.0 < figure.value), "{}", row.name());
        }
        context.end_round().await?;
        assert!(broker.client().await?.admin().describe_topics(None, false).await?.is_empty());
        Ok(())
    });
}

#[test]
fn rows_of_many_partitions_report_figures_beside_those_of_one_partition() {
    let (directory, amounts) = (tempfile::tempdir().unwrap(), Amounts::tiny());
    with_broker(async |broker| {
        let mut report = BenchReport::default();
        let (program, command_line, directory) = (Path::new("none"), &debug_build("grower-cli"), directory.path());
        let context = RowContext { broker, program, command_line, directory, amounts: &amounts, round: 0 };
        let rows: Vec<_> = ROWS.iter().filter(|row| matches!(row, BenchRow::ManyPartitions(_))).collect();
        for row in rows {
            row.measure(context, &mut report).await.with_context(|| row.name())?;
            let figures = report.medians();
            for name in [row.name().to_owned(), format!("{}-of-1", row.name())] {
                assert!(figures.iter().any(|figure| figure.name == name), "{name}");
            }
        }
        Ok(())
    });
}

/// A program of the debug build. Testing this package alone does not build the binary of another one.
fn debug_build(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    if !program.exists() {
        must_succeed(cargo().args(["build", "--quiet", "--package", name])).unwrap();
    }
    program
}

#[test]
fn rows_with_daemons_of_their_own_report_figures() {
    let program = debug_build("grower-broker");
    let (directory, amounts) = (tempfile::tempdir().unwrap(), Amounts::tiny());
    let broker = BenchBroker { address: String::new(), process: std::process::id() };
    let (program, command_line, directory) = (&program, Path::new("none"), directory.path());
    let context = RowContext { broker: &broker, program, command_line, directory, amounts: &amounts, round: 0 };
    let mut report = BenchReport::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for row in [BenchRow::Idle, BenchRow::IdlePartitions, BenchRow::Start, BenchRow::Restart] {
            row.measure(context, &mut report).await.unwrap();
        }
    });
    let names: Vec<String> = report.medians().into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["idle", "idle-1000", "idle-1000-restarted", "scrape-1000", "start", "restart-0g"]);
}

#[test]
fn rows_are_chosen_by_name_or_prefix() {
    let names =
        |only: &str| chosen(&[only.to_owned()]).map(|rows| rows.into_iter().map(BenchRow::name).collect::<Vec<_>>());
    assert_eq!(names("idle").unwrap(), ["idle"]);
    assert_eq!(names("idl").unwrap(), ["idle", "idle-1000"]);
    assert!(names("nothing").unwrap_err().to_string().contains("produce-1k-1, produce-1k-8"));
    assert_eq!(chosen(&[]).unwrap().len(), ROWS.len());
}
