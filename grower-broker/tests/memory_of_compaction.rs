//! The memory budget while batches with high compression are compacted: a pass never has all of its data in memory.

mod support {
    pub(crate) mod daemon;
    pub mod process;
    pub mod raw;
}

use bytes::BytesMut;
use grower_protocol::batch::{BatchBuilder, Record};
use grower_protocol::compression::Codec;
use grower_protocol::message::*;
use std::path::Path;
use std::time::{Duration, Instant};
use support::daemon::{Daemon, command};
use support::process::resident_high;
use support::raw::*;
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
const BUDGET: usize = 16 * MIB;
/// Memory of the process outside its budget: code, threads, logs, and the allocator's reserve.
const OUTSIDE_BUDGET: usize = 64 * MIB;
const KEYS: usize = 60;

/// A small batch of 60 records with a key each, which is 60 MiB large when it is decompressed.
fn inflating(codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new(codec);
    for key in 0..KEYS {
        let (key, value) = (Some(format!("k{key}").into()), Some(vec![b'v'; MIB].into()));
        builder.push(&Record { timestamp: now(), key, value, headers: Vec::new() });
    }
    builder.build(None)
}

fn segments(dir: &Path) -> usize {
    let partition = dir.join("topics/inflating/0");
    let names = std::fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".growerlog")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_of_batches_that_inflate_stays_within_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("GROWER__DISK__RETENTION_CHECK", "100ms"), ("GROWER__DISK__RESERVE_BYTES", "64MiB")];
    let daemon = Daemon::start_command(command(dir.path()).args(["--memory", "16MiB"]).envs(settings));
    let mut client = Raw::open(TcpStream::connect(daemon.listen).await.unwrap()).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.messages", "40"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.message.bytes", "4194304"),
    ];
    let topic = client.create_topic("inflating", 1, &configs).await;
    let batch = inflating(Codec::Zstd);
    for _ in 0..4 {
        client.produce(topic, Acks::All, &batch).await.expect("the batch is taken");
    }
    let until = Instant::now() + Duration::from_secs(60);
    while 2 < segments(dir.path()) {
        assert!(Instant::now() < until, "the segments that are full become one");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let high = resident_high(&daemon.child);
    assert!(high <= BUDGET + OUTSIDE_BUDGET, "{} MiB were resident", high / MIB);
    daemon.terminate();
}
