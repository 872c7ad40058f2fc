//! Automatic commits while the broker answers them not at all.
#![expect(clippy::disallowed_methods, reason = "a test measures when requests come")]

mod support;

use grower_client::Record;
use grower_protocol::message::Request;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn commits_that_hang_cost_a_member_neither_its_session_nor_a_late_heartbeat() {
    let beats = Arc::new(Mutex::new(Vec::new()));
    let noted = beats.clone();
    let fake = FakeBroker::new(move |request| match request {
        Request::CommitOffsets(_) => Act::Silence, // A disk that hangs.
        Request::Heartbeat(beat) => {
            noted.lock().push((Instant::now(), beat.epoch.value()));
            Act::Serve
        }
        _ => Act::Serve,
    });
    let client = fake.client_with_patience(SECOND * 30).await.unwrap();
    client.producer().build().await.unwrap().send(Record::new(TOPIC).value("x")).await.unwrap();
    let builder = client.consumer().group("g").subscribe([TOPIC]).session_timeout(SECOND * 10);
    let mut consumer = builder.auto_commit(Some(SECOND * 3600)).build().await.unwrap();
    consumer.next().await.unwrap().unwrap();
    fake.delete_topic(); // The group revokes the partition.
    for _ in 0..40 {
        drop(consumer.poll(SECOND).await);
    }
    let beats = beats.lock();
    let longest = beats.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    assert!(longest < Some(SECOND * 7), "between heartbeats: {longest:?}");
    assert!(beats[1..].iter().all(|(_, epoch)| *epoch != 0), "it joined again: {beats:?}");
}
