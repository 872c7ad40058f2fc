//! The limit of producing: over a loopback socket, one CRC-32C, written to a file, each MiB synced while the next one
//! arrives.

use super::{MIB, WRITE_BYTES, pair};
use crate::bench::values::noise;
use anyhow::Context;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Measures receiving `bytes` and making them durable.
pub(in crate::bench) async fn produce(directory: &Path, bytes: u64) -> anyhow::Result<Duration> {
    let path = directory.join("limit-produce");
    tokio::task::spawn_blocking(move || {
        let file = File::create(&path)?;
        let (mut near, far) = pair()?;
        let sender = thread::spawn(move || send(far, bytes));
        let began = Instant::now();
        receive(&mut near, &file, bytes)?;
        let took = began.elapsed();
        sender.join().ok().context("the sender panicked")??;
        Ok(took)
    })
    .await?
}

fn send(mut to: TcpStream, bytes: u64) -> anyhow::Result<()> {
    let buffer = &noise()[..WRITE_BYTES];
    let mut left = bytes;
    while left != 0 {
        let now = left.min(WRITE_BYTES as u64);
        to.write_all(&buffer[..now as usize])?;
        left -= now;
    }
    Ok(())
}

/// One thread receives and writes, another syncs, at most one MiB behind.
fn receive(from: &mut impl Read, mut file: &File, bytes: u64) -> anyhow::Result<()> {
    let (wanted, to_sync) = mpsc::sync_channel::<()>(0);
    let syncing = file.try_clone()?;
    let syncer = thread::spawn(move || to_sync.iter().try_for_each(|()| syncing.sync_data()));
    let mut buffer = vec![0; MIB];
    let mut left = bytes;
    while left != 0 {
        let now = &mut buffer[..left.min(MIB as u64) as usize];
        from.read_exact(now)?;
        std::hint::black_box(crc_fast::crc32_iscsi(now));
        file.write_all(now)?;
        left -= now.len() as u64;
        wanted.send(()).ok(); // Waits for the previous sync. Its failure shows at the join.
    }
    drop(wanted);
    syncer.join().ok().context("the syncer panicked")??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_bytes_end_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        produce(directory.path(), 2_500_000).await.unwrap();
        assert_eq!(std::fs::metadata(directory.path().join("limit-produce")).unwrap().len(), 2_500_000);
    }
}
