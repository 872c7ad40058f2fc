//! Members of a group with a scripted broker.

mod support;

use grower_client::ErrorCode;
use grower_protocol::message::Request;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};

#[tokio::test]
async fn a_dropped_member_stops_looking_up_its_start_offsets() {
    let asked = std::sync::Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let fake = FakeBroker::new(move |request| match request {
        Request::FetchOffsets { .. } => {
            counted.fetch_add(1, Ordering::Relaxed);
            Act::Refuse(ErrorCode::NotReady)
        }
        _ => Act::Serve,
    });
    let client = fake.client().await;
    let consumer = client.consumer().group("g").subscribe([TOPIC]).build().await.unwrap();
    let story = async {
        while asked.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        drop((consumer, client));
        while 0 < fake.connections() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), story).await.expect("nothing of the client is left");
}

/// Collects the log output.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_member_refused_for_group_memory_warns_once() {
    let refused = |code| Act::Refuse(code);
    let faults =
        [ErrorCode::NotReady, ErrorCode::MemoryFull, ErrorCode::MemoryFull, ErrorCode::MemoryFull].map(refused);
    let fake = FakeBroker::failing(|request| matches!(request, Request::Heartbeat(_)), faults);
    let client = fake.client_with_patience(Duration::from_secs(60)).await.unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let logged = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _here = tracing::subscriber::set_default(logged); // For this thread, which runs the whole test.
    let consumer = client.consumer().group("g").subscribe([TOPIC]).build();
    let consumer = tokio::time::timeout(Duration::from_secs(30), consumer).await.expect("it gets in").unwrap();
    assert_eq!(consumer.assignment().len(), 1);
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let warnings: Vec<&str> = logged.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{logged}");
    assert!(
        warnings[0].contains("cannot join the group yet; trying again") && warnings[0].contains("group=g"),
        "{logged}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_or_is_dropped_leaves_no_member_behind() {
    for is_dropped in [false, true] {
        let left = std::sync::Arc::new(AtomicU32::new(0));
        let counted = left.clone();
        let fake = FakeBroker::new(move |request| match request {
            Request::Heartbeat(_) => Act::Silence,
            Request::LeaveGroup { .. } => {
                counted.fetch_add(1, Ordering::Relaxed);
                Act::Serve
            }
            _ => Act::Serve,
        });
        let client = fake.client_with_patience(Duration::from_secs(3)).await.unwrap();
        let build = || client.consumer().group("g").subscribe([TOPIC]);
        let limit = Duration::from_secs(if is_dropped { 1 } else { 60 });
        let chosen = tokio::time::timeout(limit, build().member("mine").build()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(left.load(Ordering::Relaxed), 0, "a later consumer may have the id: {:?}", chosen.map(|_| ()));
        let built = tokio::time::timeout(limit, build().build()).await;
        assert!(!matches!(built, Ok(Ok(_))));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(left.load(Ordering::Relaxed), 1);
    }
}
