use super::super::stream::Stream;
use super::*;
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the pipe holds.
const PIPE: usize = 1_000;
/// Slower than a peer may read, but never silent for as long as the timeout.
const TOO_SLOW: Duration = Duration::from_secs(9);

fn outbox() -> (ConnectionOutbox, DuplexStream) {
    let (ours, theirs) = duplex(PIPE);
    (outbox_to(Stream::InProcess(ours)), theirs)
}

fn outbox_to(stream: Stream) -> ConnectionOutbox {
    let (_, sink) = stream.split();
    let (memory, ended) = (Memory::new(16 << 20), CancellationToken::new());
    let share = ConnectionShare { memory: memory.take(1024), slot: None };
    let held = (share, crate::metrics::Metrics::for_test().connected());
    ConnectionOutbox::new(sink, ZeroCopy::Auto, memory, ended, held)
}

fn answer(length: usize) -> Answer {
    Answer { head: vec![0x5a; length], slices: Vec::new(), permits: Vec::new() }
}

/// Takes as much as the pipe holds, again and again, and waits in between; returns how much that was in all.
async fn read(mut stream: DuplexStream, each: Duration) -> usize {
    let (mut bytes, mut read) = (vec![0; PIPE], 0);
    loop {
        tokio::time::sleep(each).await;
        match stream.read(&mut bytes).await.unwrap() {
            0 => return read,
            some => read += some,
        }
    }
}

/// Sends answers of this length to a reader; returns the outcome, and how many bytes it read.
async fn sent(answers: usize, length: usize, each: Duration) -> (io::Result<()>, usize) {
    let (outbox, theirs) = outbox();
    (0..answers).for_each(|_| outbox.send(answer(length)));
    outbox.finish();
    let writing = async move { outbox.write_queued(TIMEOUT).await }; // Drops the pipe's end when it is done.
    tokio::join!(writing, read(theirs, each))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_little_now_and_then_is_closed_even_for_short_answers() {
    for length in [10, PIPE, 1 << 20] {
        let (sent, read) = sent((4 << 20) / length, length, TOO_SLOW).await;
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut, "answers of {length} bytes");
        assert!(read < 64 << 10, "{read} bytes of answers of {length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_all_there_is_stays_connected() {
    let (outbox, mut theirs) = outbox();
    let writing = outbox.write_queued(TIMEOUT);
    let asking = async {
        for _ in 0..100 {
            outbox.send(answer(2 * PIPE));
            tokio::time::sleep(TOO_SLOW).await;
            theirs.read_exact(&mut [0; 2 * PIPE]).await.unwrap();
        }
        outbox.finish();
    };
    tokio::join!(writing, asking).0.unwrap();
}

#[tokio::test]
async fn a_send_that_failed_on_another_thread_ends_the_writer_with_its_error() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    socket.set_nonblocking(true).unwrap();
    let outbox = outbox_to(Stream::Tcp(TcpStream::from_std(socket).unwrap()));
    outbox.sink.ready().await.unwrap(); // Without this the writer task would send, and fail itself.
    outbox.send(answer(10));
    assert!(outbox.queue.lock().closed, "the sending thread met the error");
    assert_eq!(outbox.write_queued(TIMEOUT).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
