//! The limit: a program that moves the same bytes and does nothing that could be left out.
//!
//! Producing: over a loopback socket, one CRC-32C pass, written to a file, made durable each MiB while the next MiB is on its
//! way. Consuming: read from the file and sent over loopback to a reader that passes a CRC over it. A single record: over
//! the socket, written, made durable, answered.

use anyhow::Context;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// What goes through a socket at once: the size at which loopback is fastest.
const PIECE: usize = 64 << 10;
const FILE: &str = "limit";

/// How long it takes to receive `bytes` and have them on disk.
pub(super) async fn produce(directory: &Path, bytes: u64) -> anyhow::Result<Duration> {
    let path = directory.join(FILE);
    tokio::task::spawn_blocking(move || {
        let file = File::create(&path)?;
        let (mut near, far) = pair()?;
        let sender = thread::spawn(move || send(far, bytes));
        let began = Instant::now();
        receive(&mut near, &file, bytes)?;
        let took = began.elapsed();
        sender.join().ok().context("the sender panicked")??;
        anyhow::Ok(took)
    })
    .await?
}

fn send(mut to: TcpStream, bytes: u64) -> anyhow::Result<()> {
    let piece = vec![0x5a; PIECE];
    let mut left = bytes;
    while left != 0 {
        let now = left.min(PIECE as u64);
        to.write_all(&piece[..now as usize])?;
        left -= now;
    }
    Ok(())
}

/// One thread receives and writes, another makes durable: never more than one MiB behind.
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
        wanted.send(()).ok(); // Waits until the sync before has ended. If it failed, joining tells.
    }
    drop(wanted);
    syncer.join().ok().context("the syncer panicked")??;
    Ok(())
}

/// How long it takes to get `bytes` out of the file and through a socket.
pub(super) async fn consume(directory: &Path, bytes: u64) -> anyhow::Result<Duration> {
    let path = directory.join(FILE);
    tokio::task::spawn_blocking(move || {
        let file = File::open(&path)?;
        let (mut near, far) = pair()?;
        let began = Instant::now();
        let sender = thread::spawn(move || send_file(&file, far, bytes));
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
        anyhow::Ok(took)
    })
    .await?
}

fn send_file(file: &File, mut to: TcpStream, bytes: u64) -> anyhow::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let now = &mut piece[..(bytes - at).min(PIECE as u64) as usize];
        file.read_exact_at(now, at)?;
        to.write_all(now)?;
        at += now.len() as u64;
    }
    Ok(())
}

/// The median time for a record of 1 KiB to be sent, made durable and answered.
pub(super) async fn single(directory: &Path, count: u32) -> anyhow::Result<Duration> {
    let path = directory.join(FILE);
    tokio::task::spawn_blocking(move || {
        let mut file = File::create(&path)?;
        let (mut near, mut far) = pair()?;
        let server = thread::spawn(move || -> anyhow::Result<()> {
            let mut record = [0; 1024];
            for _ in 0..count {
                near.read_exact(&mut record)?;
                file.write_all(&record)?;
                file.sync_data()?;
                near.write_all(&[0; 16])?;
            }
            Ok(())
        });
        let mut took = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            far.write_all(&[7; 1024])?;
            far.read_exact(&mut [0; 16])?;
            took.push(began.elapsed());
        }
        server.join().ok().context("the server panicked")??;
        took.sort_unstable();
        took.get(took.len() / 2).copied().context("nothing was measured")
    })
    .await?
}

/// Two ends of a loopback connection.
fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let far = TcpStream::connect(listener.local_addr()?)?;
    let (near, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}
