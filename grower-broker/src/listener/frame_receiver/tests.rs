use super::super::stream::Stream;
use super::*;
use crate::config::ZeroCopy;
use std::task::Poll;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(60);

fn receiver() -> (FrameReceiver, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    let (source, _sink) = Stream::InProcess(ours).split();
    let limits = ConnectionLimits {
        connections_max: 1,
        frame_bytes_max: 1 << 20,
        requests_in_flight_max: 1,
        handshake_timeout: TIMEOUT,
        frame_timeout: TIMEOUT,
        idle_timeout: TIMEOUT,
        write_timeout: TIMEOUT,
        zero_copy: ZeroCopy::Auto,
        memory: Memory::new(16 << 20),
        open_files: grower_storage::disk::OpenFiles::new(64),
        http_descriptors: std::sync::Arc::new(crate::descriptors::HttpDescriptors::reserve(false)),
    };
    let mut receiver = FrameReceiver::new(source, &limits);
    receiver.frame_done(); // The preface.
    (receiver, theirs)
}

/// Receives the first bytes of a frame.
async fn begun() -> (FrameReceiver, DuplexStream) {
    let (mut receiver, mut theirs) = receiver();
    theirs.write_all(&[0, 0]).await.unwrap();
    assert!(matches!(receiver.receive().await, Ok(ReceiveOutcome::Received(2))));
    (receiver, theirs)
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_frame_is_awaited_for_its_time_and_no_longer() {
    let (mut receiver, mut theirs) = begun().await;
    let start = Instant::now();
    theirs.write_all(&[1]).await.unwrap();
    assert!(matches!(receiver.receive().await, Ok(ReceiveOutcome::Received(1))));
    assert!(matches!(receiver.receive().await, Err(ConnectionEnd::Slow("the rest of a frame"))));
    assert_eq!(start.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_broker_reads_nothing_counts_against_no_peer() {
    let (mut receiver, mut theirs) = begun().await;
    theirs.write_all(&[1]).await.unwrap();
    assert!(matches!(receiver.receive().await, Ok(ReceiveOutcome::Received(1)))); // Its deadline runs from here.
    tokio::time::sleep(10 * TIMEOUT).await; // The broker waits for a place, for memory, or for its disk.
    let start = Instant::now();
    assert!(matches!(receiver.receive().await, Err(ConnectionEnd::Slow("the rest of a frame"))));
    assert_eq!(start.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_in_time_are_received_however_late_the_broker_looks() {
    for _ in 0..50 {
        let (mut receiver, mut theirs) = begun().await;
        {
            let mut receiving = std::pin::pin!(receiver.receive());
            let waits = std::future::poll_fn(|context| Poll::Ready(receiving.as_mut().poll(context).is_pending()));
            assert!(waits.await);
            theirs.write_all(&[2, 3]).await.unwrap();
            tokio::time::advance(2 * TIMEOUT).await; // Nothing of the broker runs meanwhile.
            assert!(matches!(receiving.await, Ok(ReceiveOutcome::Received(2))));
        }
    }
}
