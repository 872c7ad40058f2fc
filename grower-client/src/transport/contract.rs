//! The duties of every transport, as tests that your implementation can run.

use super::{Connection, Transport};
use grower_protocol::wire::{PREFACE_LENGTH, Preface};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs all tests against the broker at `address`.
///
/// # Panics
/// If the transport fails a test.
pub async fn check(transport: &dyn Transport, address: &str) {
    connections_are_independent(transport, address).await;
    pieces_arrive_whole_and_in_order(transport, address).await;
}

/// Each call opens a new connection, and closing one leaves the others open.
async fn connections_are_independent(transport: &dyn Transport, address: &str) {
    let mut first = connect(transport, address).await;
    let second = connect(transport, address).await;
    drop(second);
    let mut third = connect(transport, address).await;
    assert_eq!(greet(&mut *third, PREFACE_LENGTH).await, Preface::OURS);
    assert_eq!(greet(&mut *first, PREFACE_LENGTH).await, Preface::OURS);
}

/// The broker reads the same bytes when they are written one by one.
async fn pieces_arrive_whole_and_in_order(transport: &dyn Transport, address: &str) {
    let mut connection = connect(transport, address).await;
    assert_eq!(greet(&mut *connection, 1).await, Preface::OURS);
}

async fn connect(transport: &dyn Transport, address: &str) -> Box<dyn Connection> {
    transport.connect(address).await.expect("the broker is there")
}

/// Sends the preface in pieces of `piece` bytes and reads the broker's preface.
async fn greet(connection: &mut dyn Connection, piece: usize) -> Preface {
    for bytes in Preface::OURS.encode().chunks(piece) {
        connection.write_all(bytes).await.expect("the connection takes bytes");
        connection.flush().await.expect("the connection sends them");
    }
    let mut theirs = [0; PREFACE_LENGTH];
    connection.read_exact(&mut theirs).await.expect("the broker answers");
    Preface::decode(theirs).expect("a broker was at the other end")
}
