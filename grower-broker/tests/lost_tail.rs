//! A log that lost its newest records: their readers are told, and skip none of the records that reuse their offsets.

mod support {
    pub(crate) mod chance;
    pub(crate) mod daemon;
    pub(crate) mod ledger;
    pub(crate) mod workload;
}

use grower_client::ids::Offset;
use grower_client::{Client, Consumer, Gap, GapCause, OnGap, Record, StartFrom, TopicSpec};
use grower_protocol::batch::BatchHeader;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::daemon::{Daemon, command};
use support::workload::BrokerAddress;

/// Longer than anything here takes; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn readers_and_groups_resume_at_the_start_of_a_lost_tail() {
    let dir = tempfile::tempdir().unwrap();
    let door = BrokerAddress::default();
    let mut daemon = start(dir.path(), &door);
    let client = door.client().await;
    client.admin().create_topic("events", TopicSpec::partitions(1).config("flush", "os")).await.unwrap();
    send(&client, ["0", "1", "2", "3"]).await;

    let gaps: Arc<Mutex<Vec<Gap>>> = Arc::default();
    let told = gaps.clone();
    let rule = move |gap: &Gap| {
        told.lock().unwrap().push(gap.clone());
        OnGap::Continue
    };
    let reading = client.consumer().assign([("events", 0)]).from(StartFrom::Beginning).on_gap(rule);
    let mut live = reading.build().await.unwrap();
    assert_eq!(read(&mut live, 4).await, ["0", "1", "2", "3"]);
    let group = || client.consumer().group("g").subscribe(["events"]);
    let mut member = group().build().await.unwrap();
    assert_eq!(read(&mut member, 4).await.len(), 4);
    member.commit().await.unwrap();
    member.close().await.unwrap();

    daemon.kill9();
    door.close();
    cut_after(2, &dir.path().join("topics/events/0/00000000000000000000.growerlog"));
    daemon = start(dir.path(), &door);
    let positions = client.admin().list_committed_offsets("g").await.unwrap();
    assert_eq!((positions[0].offset.value(), positions[0].lost_from), (4, Some(Offset::new(2))));
    // More than were lost: a comparison of offsets alone finds nothing strange any more.
    send(&client, ["new 2", "new 3", "new 4", "new 5"]).await;
    let positions = client.admin().list_committed_offsets("g").await.unwrap();
    assert_eq!(positions[0].lost_from, Some(Offset::new(2)));
    let lag = r#"grower_group_lag_records{group="g",topic="events",partition="0"} 4"#;
    let page = metrics(&daemon);
    assert!(page.lines().any(|line| line == lag), "it reads again from where the log was cut: {page}");

    let new = ["new 2", "new 3", "new 4", "new 5"];
    assert_eq!(read(&mut live, 4).await, new);
    let gap = gaps.lock().unwrap().pop().unwrap();
    assert_eq!((gap.cause, gap.offsets), (GapCause::Truncation, Offset::new(2)..Offset::new(4)));
    let mut member = group().build().await.unwrap();
    assert_eq!(read(&mut member, 4).await, new);
    member.commit().await.unwrap();
    let positions = client.admin().list_committed_offsets("g").await.unwrap();
    assert_eq!((positions[0].offset.value(), positions[0].lost_from), (6, None));
    member.close().await.unwrap();
    daemon.kill9();
}

fn start(dir: &Path, door: &BrokerAddress) -> Daemon {
    // A power cut does not take synced records.
    let daemon = Daemon::start_command(command(dir).env("GROWER__DISK__FLUSH_DELAY", "1m"));
    door.open(daemon.listen);
    daemon
}

fn metrics(daemon: &Daemon) -> String {
    let mut stream = TcpStream::connect(daemon.http.unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// One batch for each value.
async fn send<const N: usize>(client: &Client, values: [&'static str; N]) {
    let producer = client.producer().build().await.unwrap();
    for value in values {
        producer.send(Record::new("events").value(value)).await.unwrap();
    }
}

async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let record = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
        values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    values
}

/// The remains of an unsynced file after a power cut.
fn cut_after(batches: usize, log: &Path) {
    let bytes = std::fs::read(log).unwrap();
    let end = (0..batches).fold(0, |at, _| at + BatchHeader::parse(&bytes[at..]).unwrap().total_length);
    std::fs::File::options().write(true).open(log).unwrap().set_len(end as u64).unwrap();
}
