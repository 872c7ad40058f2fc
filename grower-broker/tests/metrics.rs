//! The output of `/metrics`: valid for a strict parser, correct, bounded, and documented.

mod support {
    pub(crate) mod openmetrics;
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use support::openmetrics::{Exposition, parse};
use support::raw::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

const NEWEST_BACKUP: &str = "grower_backup_newest_timestamp_seconds";

async fn started() -> (Broker, Raw<DuplexStream>) {
    let http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = BrokerConfig { http, backup_dir: Some("/backups".into()), ..BrokerConfig::at("/grower") };
    let broker = in_memory_with(config).start().await.unwrap();
    let client = Raw::open(broker.connect()).await;
    let looked = async {
        while !scrape(&broker).await.contains_key(NEWEST_BACKUP) {} // Looking for earlier ones takes a moment.
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap();
    (broker, client)
}

async fn scrape(broker: &Broker) -> Exposition {
    let mut stream = TcpStream::connect(broker.http_address().unwrap()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: application/openmetrics-text\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    parse(body)
}

/// Commits an offset for a group, as its only member, after a heartbeat that waits in vain.
async fn commit(client: &mut Raw<DuplexStream>, group: &str, topic: TopicId, offset: u64) {
    let (group, member) = (GroupId::new(group).unwrap(), MemberId::new("m").unwrap());
    let beat = Heartbeat {
        group: group.clone(),
        member: member.clone(),
        epoch: MemberEpoch::new(0),
        topics: vec![TopicName::new("events").unwrap()],
        owned: Vec::new(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        assignor: None,
        instance: None,
        max_wait_ms: 0,
    };
    let Response::Heartbeat(joined) = client.ask(&Request::Heartbeat(beat.clone())).await else { panic!("not joined") };
    let waits = Heartbeat { epoch: joined.epoch, max_wait_ms: 1, ..beat };
    let Response::Heartbeat(joined) = client.ask(&Request::Heartbeat(waits)).await else { panic!("no member") };
    let offset = OffsetToCommit {
        topic,
        partition: PartitionId::new(0),
        offset: Offset::new(offset),
        leader_epoch: None,
        metadata: String::new(),
    };
    let commit = OffsetCommit {
        group,
        committer: CommitterIdentity::Member(member, joined.epoch),
        sequence: 0,
        offsets: vec![offset],
    };
    let Response::CommitOffsets(parts) = client.ask(&Request::CommitOffsets(commit)).await else { panic!("refused") };
    assert_eq!(parts, [Ok(())]);
}

#[tokio::test]
async fn metrics_agree_with_what_happened() {
    let (broker, mut client) = started().await;
    let topic = client.create_topic("events", 2, &[]).await;
    let three = batch(&["one", "two", "three"]);
    client.produce(topic, Acks::Leader, &three).await.unwrap();
    client.produce(topic, Acks::All, &batch(&["four"])).await.unwrap();
    client.produce(topic, Acks::All, &[0; 80]).await.unwrap_err();
    assert_eq!(client.values(topic, 0).await, ["one", "two", "three", "four"]);
    client.fetch(Fetch { max_wait_ms: 1, ..fetch_from(topic, 4) }).await;
    commit(&mut client, "readers \"of\" events", topic, 3).await;
    client.ask(&Request::DescribeGroup(GroupId::new("unknown").unwrap())).await;

    let told = scrape(&broker).await;
    let value = |name: &str, labels: &[(&str, &str)]| told[name].value(labels).unwrap();
    assert_eq!(value("grower_records_appended", &[("topic", "events")]), 4.0);
    assert_eq!(value("grower_records_fetched", &[("topic", "events")]), 4.0);
    assert_eq!(
        value("grower_appended_bytes", &[("topic", "events")]),
        value("grower_fetched_bytes", &[("topic", "events")])
    );
    assert_eq!(value("grower_log_end_offset", &[("topic", "events"), ("partition", "0")]), 4.0);
    assert_eq!(value("grower_request_seconds", &[("api", "produce_all")]), 2.0);
    assert_eq!(value("grower_request_seconds", &[("api", "produce_leader")]), 1.0);
    assert_eq!(value("grower_request_seconds", &[("api", "fetch")]), 1.0);
    assert_eq!(value("grower_request_seconds", &[("api", "fetch_wait")]), 1.0);
    assert_eq!(value("grower_request_seconds", &[("api", "heartbeat")]), 1.0);
    assert_eq!(value("grower_request_seconds", &[("api", "heartbeat_wait")]), 1.0);
    assert_eq!(value("grower_request_seconds", &[("api", "commit_offsets")]), 1.0);
    assert_eq!(value("grower_requests_in_flight", &[]), 0.0);
    assert_eq!(value("grower_requests_failed", &[("reason", "unknown_group")]), 1.0);
    assert_eq!(value("grower_writes_refused", &[("reason", "invalid_record")]), 1.0);
    assert_eq!(value("grower_writes_refused", &[("reason", "disk_full")]), 0.0);
    assert_eq!(value("grower_connections", &[]), 1.0);
    let lag = [("group", "readers \"of\" events"), ("topic", "events"), ("partition", "0")];
    assert_eq!(value("grower_group_lag_records", &lag), 1.0);
    assert!((0.0..600.0).contains(&value("grower_group_lag_seconds", &lag)));
    assert!(0.0 < value("grower_fsync_seconds", &[]));
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_leaves_counts_as_no_failure() {
    let (broker, mut client) = started().await;
    let request = |step, max_wait_ms| {
        let (drop, add) = (Vec::new(), Vec::new());
        Request::FetchSession(FetchSession { step, max_wait_ms, min_bytes: 1, max_bytes: 1, drop, add })
    };
    let Response::FetchSession(opened) = client.ask(&request(SessionStep::Open, 0)).await else { panic!("refused") };
    let next = SessionSequence { session: opened.session, number: 1, received_below: 1 };
    client.send(&request(SessionStep::Continue(next), 60_000), &[]).await;
    client.send(&request(SessionStep::Close(opened.session), 0), &[]).await;
    for _ in 0..2 {
        assert!(client.receive().await.is_some(), "the request that waits is answered, too");
    }
    let told = scrape(&broker).await;
    assert_eq!(told["grower_fetch_sessions"].value(&[]), Some(0.0));
    assert_eq!(told["grower_requests_failed"].value(&[("reason", "unknown_fetch_session")]), None);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn the_newest_backup_is_shown_once_there_is_one() {
    let (broker, mut client) = started().await;
    assert_eq!(scrape(&broker).await[NEWEST_BACKUP].value(&[]), Some(0.0), "there is none");
    let mut asked = client.ask(&Request::BeginBackup { dir: "nightly".to_owned(), full: false }).await;
    let began = loop {
        let Response::DescribeBackup(Some(backup)) = asked else { panic!("{asked:?}") };
        match backup.state {
            BackupState::Running => asked = client.ask(&Request::DescribeBackup).await,
            BackupState::Made(_) => break backup.began.as_millis() / 1_000,
            BackupState::Failed(failure) => panic!("{failure}"),
        }
    };
    assert_eq!(scrape(&broker).await[NEWEST_BACKUP].value(&[]), Some(began as f64));
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_thousand_topics_and_more_cost_no_more_series_than_is_promised() {
    let (broker, mut client) = started().await;
    for n in 0..1_010 {
        client.create_topic(&format!("t{n:04}"), 2, &[]).await;
    }
    for topic in ["t1001", "t1002"].map(|name| TopicName::new(name).unwrap()) {
        let asked = client.ask(&Request::Metadata(Metadata { topics: Some(vec![topic]), create_missing: false })).await;
        let Response::Metadata(answer) = asked else { panic!("{asked:?}") };
        let topic = answer.topics[0].as_ref().unwrap().id;
        client.produce(topic, Acks::Leader, &batch(&["one"])).await.unwrap();
    }
    let told = scrape(&broker).await;
    assert_eq!(told["grower_topics"].value(&[]), Some(1_010.0));
    assert_eq!(told["grower_records_appended"].samples.len(), 1_001);
    assert_eq!(told["grower_records_appended"].value(&[("topic", "(others)")]), Some(2.0));
    assert_eq!(told["grower_log_end_offset"].samples.len(), 2_000);
    assert_eq!(told["grower_series_left_out"].value(&[("kind", "partitions")]), Some(20.0));
    broker.stop().await.unwrap();
}

/// Rows of the table in the documentation: name, kind, labels.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let rows = include_str!("../docs/metrics.md").lines().filter(|line| line.starts_with("| `grower_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels.filter(|l| !l.is_empty()).collect())
    })
    .collect()
}

#[tokio::test]
async fn the_documentation_lists_every_metric_with_its_labels_and_no_other() {
    let (broker, mut client) = started().await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    commit(&mut client, "readers", topic, 0).await;
    let unlabelled_here = ["grower_log_damaged_offsets"]; // Nothing is damaged.
    let told = scrape(&broker).await.into_iter().map(|(family, told)| {
        let name = match told.kind.as_str() {
            "histogram" => family,
            _ => told.sample_names(&family).remove(0),
        };
        let mut labels: BTreeSet<String> =
            told.samples.iter().flat_map(|sample| sample.labels.keys().cloned()).collect();
        labels.remove("le");
        (name, told.kind, labels)
    });
    let told: BTreeSet<_> = told.filter(|(name, ..)| !unlabelled_here.contains(&name.as_str())).collect();
    let documented: BTreeSet<_> =
        documented().into_iter().filter(|(name, ..)| !unlabelled_here.contains(&name.as_str())).collect();
    assert_eq!(told, documented);
    broker.stop().await.unwrap();
}

/// Every word of a text that could be a metric.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("grower_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn dashboard_alerts_and_operations_name_metrics_that_exist() {
    let (broker, _client) = started().await;
    let told = scrape(&broker).await;
    let exist: BTreeSet<String> = told.iter().flat_map(|(name, family)| family.sample_names(name)).collect();
    let histograms = told.iter().filter(|(_, family)| family.kind == "histogram").map(|(name, _)| name.clone());
    let exist: BTreeSet<String> = exist.into_iter().chain(histograms).collect();
    let dashboard = include_str!("../ops/grower-dashboard.json");
    let alerts = include_str!("../ops/grower-alerts.yml");
    for text in [dashboard, alerts, include_str!("../docs/operations.md")] {
        let named = metrics_in(text);
        assert!(!named.is_empty());
        assert_eq!(named.difference(&exist).collect::<Vec<_>>(), [""; 0]);
    }
    broker.stop().await.unwrap();
}

#[test]
fn the_dashboard_is_one_that_grafana_can_read() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../ops/grower-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}

#[test]
fn every_alert_is_explained_and_every_explanation_has_its_alert() {
    let alerts = include_str!("../ops/grower-alerts.yml").lines();
    let alerts: Vec<&str> = alerts.filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let explained = include_str!("../docs/operations.md").lines();
    let explained: Vec<&str> =
        explained.filter_map(|line| line.strip_prefix("### ")).filter(|title| title.starts_with("Grower")).collect();
    assert_eq!(alerts, explained);
}
