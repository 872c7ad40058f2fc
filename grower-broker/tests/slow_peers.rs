//! Slow, silent and excessive peers. Each costs no more than its limit, and does not affect others.

mod support {
    pub(crate) mod daemon;
    pub mod process;
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_client::Client;
use grower_protocol::ids::TopicId;
use grower_protocol::message::*;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::net::SocketAddr;
use std::time::Duration;
use support::daemon::{Daemon, command};
use support::process::{resident, resident_high, resident_until};
use support::raw::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than anything takes on a busy machine; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

async fn started(change: impl FnOnce(&mut BrokerConfig)) -> (Broker, SocketAddr) {
    let mut config = BrokerConfig { listen: "127.0.0.1:0".parse().ok(), ..BrokerConfig::at("/grower") };
    change(&mut config);
    let broker = in_memory_with(config).start().await.unwrap();
    let address = broker.listen_address().unwrap();
    (broker, address)
}

async fn connect(address: SocketAddr) -> Raw<TcpStream> {
    Raw::open(TcpStream::connect(address).await.unwrap()).await
}

/// Waits until the broker has closed the connection.
async fn closed(mut stream: TcpStream) {
    let ended = async {
        let mut bytes = vec![0; 64 << 10];
        while stream.read(&mut bytes).await.is_ok_and(|read| 0 < read) {}
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the broker closes it");
}

fn wait_for_records(topic: TopicId, max_wait_ms: u32) -> Request {
    Request::Fetch(Fetch { max_wait_ms, ..fetch_from(topic, 0) })
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_that_waits_for_records_is_not() {
    let (_broker, address) = started(|config| config.idle_timeout = Duration::from_millis(300)).await;
    let mut waiting = connect(address).await;
    let topic = waiting.create_topic("events", 1, &[]).await;
    waiting.send(&wait_for_records(topic, 3_000), &[]).await;
    closed(connect(address).await.stream).await;
    let (_, response, _) = waiting.receive().await.expect("a connection with a request in work is not idle");
    assert!(matches!(response, Response::Fetch(_)), "{response:?}");
    closed(waiting.stream).await;
}

#[tokio::test] // Hostile input 3.
async fn a_frame_that_trickles_in_is_given_up() {
    let (_broker, address) = started(|config| config.frame_timeout = Duration::from_millis(300)).await;
    let (mut reading, mut writing) = connect(address).await.stream.into_split();
    let trickling = tokio::spawn(async move {
        let _ = writing.write_all(&10_000u32.to_be_bytes()).await;
        let mut each = tokio::time::interval(Duration::from_millis(20));
        while writing.write_all(&[0]).await.is_ok() {
            each.tick().await;
        }
    });
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, reading.read_to_end(&mut bytes)).await;
    let _ = ended.expect("the broker closes it"); // With a reset, if a byte was on its way.
    tokio::time::timeout(DEADLINE, trickling).await.expect("nothing more can be sent").unwrap();
}

#[tokio::test] // Hostile input 16.
async fn a_peer_that_never_reads_is_closed() {
    let (_broker, address) = started(|config| config.write_timeout = Duration::from_millis(300)).await;
    let mut stuck = connect(address).await;
    let topic = stuck.create_topic("events", 1, &[]).await;
    let large = batch(&["x".repeat(1_000_000).as_str()]);
    stuck.produce(topic, Acks::All, &large).await.unwrap();
    let fetch = grower_protocol::wire::encode(&wait_for_records(topic, 0));
    let frame = grower_protocol::wire::encode_frame(grower_protocol::wire::Correlation(1), &fetch, 0);
    let flooding = async { while stuck.stream.write_all(&frame).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, flooding).await.expect("the broker closes it");
    let mut other = connect(address).await;
    assert!(other.produce(topic, Acks::All, &batch(&["served"])).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_reads_too_slowly_is_closed_and_one_that_keeps_reading_is_not() {
    let (_broker, address) = started(|config| config.write_timeout = Duration::from_secs(1)).await;
    let mut producer = connect(address).await;
    let topic = producer.create_topic("events", 1, &[]).await;
    let large = batch(&["x".repeat(1_000_000).as_str()]);
    producer.produce(topic, Acks::All, &large).await.unwrap();
    let reads = async {
        let mut reading = connect(address).await;
        for _ in 0..ASKED {
            assert!(matches!(reading.ask(&wait_for_records(topic, 0)).await, Response::Fetch(_)));
        }
    };
    let sips = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap(); // So that the kernel buffers little.
        let mut sipping = Raw::open(socket.connect(address).await.unwrap()).await;
        for _ in 0..ASKED {
            sipping.send(&wait_for_records(topic, 0), &[]).await;
        }
        let mut stream = sipping.stream;
        // A writer learns that its peer no longer reads.
        let message = grower_protocol::wire::encode(&wait_for_records(topic, 0));
        let frame = grower_protocol::wire::encode_frame(grower_protocol::wire::Correlation(1), &message, 0);
        for byte in frame.iter().cycle() {
            if stream.read_exact(&mut [0; 1_000]).await.is_err() || stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await; // 40 kB a second, and 64 KiB are asked for.
        }
    };
    tokio::time::timeout(DEADLINE, async { tokio::join!(reads, sips) }).await.expect("the broker closes it");
}

/// More answers than any buffer takes.
const ASKED: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)] // Hostile input 16.
async fn ten_thousand_unread_answers_cost_one_connection() {
    const BUDGET: usize = 16 << 20;
    const OUTSIDE_BUDGET: usize = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--memory", "16MiB"]).env("GROWER__NETWORK__WRITE_TIMEOUT", "1s");
    let daemon = Daemon::start_command(&mut command);
    let mut producer = connect(daemon.listen).await;
    let topic = producer.create_topic("events", 2_000, &[]).await;
    let request = grower_protocol::wire::encode(&Request::DescribeTopics { topics: None, segments: true });
    let frame = grower_protocol::wire::encode_frame(grower_protocol::wire::Correlation(1), &request, 0);
    let answer = producer.ask(&Request::DescribeTopics { topics: None, segments: true }).await;
    assert!(
        BUDGET + OUTSIDE_BUDGET < 10_000 * grower_protocol::wire::encode(&answer).len(),
        "the answers would not fit"
    );

    let mut flood = connect(daemon.listen).await;
    let flooding = async {
        let mut sent = 0;
        while flood.stream.write_all(&frame).await.is_ok() {
            sent += 1;
        }
        assert!(10_000 <= sent, "{sent} requests");
    };
    let producing = async {
        for _ in 0..100 {
            producer.produce(topic, Acks::All, &batch(&["still here"])).await.unwrap();
        }
    };
    let ended = tokio::time::timeout(DEADLINE, async { tokio::join!(flooding, producing) }).await;
    ended.expect("the broker closes the flood and serves the other");
    let high = resident_high(&daemon.child);
    assert!(high <= BUDGET + OUTSIDE_BUDGET, "{high} bytes were resident");
    daemon.terminate();
}

#[tokio::test]
async fn a_connection_over_the_limit_is_refused_until_another_closes() {
    let (_broker, address) = started(|config| config.max_connections = 1).await;
    let first = connect(address).await;
    let refused = Client::connect(address.to_string()).await.err().expect("there is no place");
    assert!(refused.to_string().contains("takes no more connections than 1"), "{refused}");
    assert!(refused.is_retriable());
    drop(first);
    let again = async { while Client::connect(address.to_string()).await.is_err() {} };
    tokio::time::timeout(DEADLINE, again).await.expect("the place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_open_connections_are_served_and_later_ones_after_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[]);
    let mut served = connect(daemon.listen).await;
    let topic = served.create_topic("events", 1, &[]).await;
    served.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count() as u64;
    let limit = Rlimit { current: Some(open + 4), maximum: Some(open + 4) };
    prlimit(Some(Pid::from_child(&daemon.child)), Resource::Nofile, limit).unwrap();

    let mut hogs = Vec::new();
    for _ in 0..16 {
        hogs.push(TcpStream::connect(daemon.listen).await.unwrap());
    }
    daemon.wait_for("cannot accept a connection");
    served.produce(topic, Acks::All, &batch(&["meanwhile"])).await.unwrap();
    drop(hogs);
    let later = async { connect(daemon.listen).await.values(topic, 0).await };
    let later = tokio::time::timeout(DEADLINE, later).await.expect("it is accepted");
    assert_eq!(later, ["before", "meanwhile"]);
    daemon.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_idle_connections_and_stalled_readers_cost_little() {
    const IDLE: usize = 400;
    const STUCK: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &["--memory", "64MiB"]);
    let mut producer = connect(daemon.listen).await;
    let topic = producer.create_topic("events", 1, &[]).await;
    let large = batch(&["x".repeat(500_000).as_str()]);
    producer.produce(topic, Acks::All, &large).await.unwrap();
    let before = resident(&daemon.child);

    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut connection = connect(daemon.listen).await;
        assert!(matches!(
            connection.ask(&Request::InitProducer(InitProducer::default())).await,
            Response::InitProducer(_)
        ));
        idle.push(connection);
    }
    let each = |resident: usize| resident.saturating_sub(before) <= IDLE * (40 << 10);
    resident_until(&daemon.child, each, "an idle connection takes 40 KiB at most");

    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let mut connection = connect(daemon.listen).await;
        for _ in 0..16 {
            connection.send(&wait_for_records(topic, 0), &[]).await;
        }
        stuck.push(connection);
    }
    for _ in 0..50 {
        producer.produce(topic, Acks::All, &batch(&["served"])).await.unwrap();
    }
    let each = |resident: usize| resident.saturating_sub(before) <= (IDLE + STUCK) * (64 << 10);
    resident_until(&daemon.child, each, "connections that never read take their share at most");
    for connection in idle.iter_mut().chain(&mut [producer]) {
        assert!(
            matches!(connection.ask(&Request::InitProducer(InitProducer::default())).await, Response::InitProducer(_)),
            "still open"
        );
    }
    for connection in &mut stuck {
        for _ in 0..16 {
            assert!(connection.receive().await.is_some(), "a peer that reads at last gets everything");
        }
    }
    daemon.terminate();
}
