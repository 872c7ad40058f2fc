//! The limit of consuming: from a file in the page cache, over a loopback socket, to a reader that computes one
//! CRC-32C.

use super::{MIB, WRITE_BYTES, pair};
use crate::bench::values::noise;
use anyhow::{Context, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Measures the transfer of `bytes` from a file through a socket, by `sendfile` and by pread + send, and returns the
/// faster.
pub(in crate::bench) async fn consume(directory: &Path, bytes: u64) -> anyhow::Result<Duration> {
    let path = directory.join("limit-consume");
    tokio::task::spawn_blocking(move || {
        let file = prepare(&path, bytes)?;
        let by_pread = transfer(file.try_clone()?, bytes, by_pread)?;
        let by_sendfile = transfer(file, bytes, by_sendfile)?;
        Ok(by_pread.min(by_sendfile))
    })
    .await?
}

/// Creates the file, or reuses that of the previous round.
fn prepare(path: &Path, bytes: u64) -> anyhow::Result<File> {
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    let mut left = bytes.saturating_sub(file.metadata()?.len());
    while left != 0 {
        let now = &noise()[..left.min(MIB as u64) as usize];
        file.write_all(now)?;
        left -= now.len() as u64;
    }
    file.sync_data()?; // Otherwise its write-back would be measured.
    Ok(file)
}

type Send = fn(&File, &mut TcpStream, u64) -> anyhow::Result<()>;

fn transfer(file: File, bytes: u64, send: Send) -> anyhow::Result<Duration> {
    let (mut near, mut far) = pair()?;
    let began = Instant::now();
    let sender = thread::spawn(move || send(&file, &mut far, bytes));
    let mut buffer = vec![0; MIB];
    let mut left = bytes;
    while left != 0 {
        let now = &mut buffer[..left.min(MIB as u64) as usize];
        near.read_exact(now)?;
        std::hint::black_box(crc_fast::crc32_iscsi(now));
        left -= now.len() as u64;
    }
    let took = began.elapsed();
    sender.join().ok().context("the sender panicked")??;
    Ok(took)
}

fn by_pread(file: &File, to: &mut TcpStream, bytes: u64) -> anyhow::Result<()> {
    let mut buffer = vec![0; WRITE_BYTES];
    let mut at = 0;
    while at < bytes {
        let now = &mut buffer[..(bytes - at).min(WRITE_BYTES as u64) as usize];
        file.read_exact_at(now, at)?;
        to.write_all(now)?;
        at += now.len() as u64;
    }
    Ok(())
}

fn by_sendfile(file: &File, to: &mut TcpStream, bytes: u64) -> anyhow::Result<()> {
    let mut at = 0;
    while at < bytes {
        let count = (bytes - at).min(MIB as u64) as usize;
        let sent = rustix::fs::sendfile(&*to, file, Some(&mut at), count)?;
        ensure!(sent != 0, "the file ended early");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_bring_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        for bytes in [1_500_000, 2_500_000] {
            let file = prepare(&directory.path().join("limit"), bytes).unwrap();
            assert_eq!(file.metadata().unwrap().len(), bytes);
            transfer(file.try_clone().unwrap(), bytes, by_pread).unwrap();
            transfer(file, bytes, by_sendfile).unwrap();
        }
    }
}
