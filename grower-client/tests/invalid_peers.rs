//! Peers that are no valid brokers: each is a typed error.

use grower_client::{Client, ConnectError, Transport, transport};
use grower_protocol::wire::Preface;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, duplex};

/// Connects to a peer that sends these bytes, reads nothing, and then closes the connection or stays silent.
async fn meet(bytes: Vec<u8>, hangs_up: bool) -> ConnectError {
    let connect = move || {
        let (near, mut far) = duplex(1 << 16);
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let sent = far.write_all(&bytes).await;
            if sent.is_ok() && !hangs_up {
                std::future::pending::<()>().await;
            }
        });
        near
    };
    let builder = Client::builder().transport(transport::in_process(connect)).bootstrap(["stranger:1"]);
    builder.connect_timeout(Duration::from_millis(200)).connect().await.map(drop).unwrap_err()
}

fn after_preface(bytes: &[u8]) -> Vec<u8> {
    [&Preface::OURS.encode(), bytes].concat()
}

/// A network without any broker.
struct NoBroker;

#[async_trait::async_trait]
impl Transport for NoBroker {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn transport::Connection>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test]
async fn every_address_is_tried_and_named() {
    let bootstrap = Client::builder().transport(NoBroker).bootstrap(["a:1", "b:2"]);
    let error = bootstrap.connect().await.map(drop).unwrap_err();
    insta::assert_snapshot!(error, @"no broker can be reached: cannot reach the broker at a:1: connection refused; cannot reach the broker at b:2: connection refused");
    assert!(error.is_retriable());
    let error = Client::connect(" , ").await.map(drop).unwrap_err();
    insta::assert_snapshot!(error, @"no broker address was given");
}

#[tokio::test]
async fn a_peer_with_another_protocol_is_recognised() {
    let error = meet(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false).await;
    insta::assert_snapshot!(error, @"stranger:1 does not speak Grower's protocol: is this a broker's data port?");
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn connecting_to_a_silent_peer_times_out() {
    let error = meet(Vec::new(), false).await;
    insta::assert_snapshot!(error, @"stranger:1 accepted the connection but did not complete the handshake within 200ms");
    assert!(error.is_retriable());
    assert!(matches!(meet(after_preface(b"\0\0\0\x20"), false).await, ConnectError::Silent { .. }));
}

#[tokio::test]
async fn the_error_names_a_peer_that_closes_the_connection() {
    insta::assert_snapshot!(meet(Vec::new(), true).await, @"stranger:1 closed the connection");
    insta::assert_snapshot!(meet(after_preface(b""), true).await, @"stranger:1 closed the connection");
}

#[tokio::test]
async fn an_oversized_frame_is_refused_before_allocation() {
    let error = meet(after_preface(&[0x7f; 16]), false).await;
    insta::assert_snapshot!(error, @"stranger:1 sent an unreadable frame: a frame of 2139062143 bytes is over the limit of 134217728 (frame.bytes.max)");
}

#[tokio::test]
async fn random_bytes_do_not_panic_the_client() {
    let mut random = 1u64;
    for length in 0..300 {
        let bytes: Vec<u8> = (0..length)
            .map(|at| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Small lengths in front, so that some frames are accepted.
                if at < 3 { 0 } else { (random >> 56) as u8 }
            })
            .collect();
        drop(meet(after_preface(&bytes), true).await); // The test is that it returns.
    }
}
