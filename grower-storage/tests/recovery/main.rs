//! Promises of a restart, after each kind of end.

#[path = "../log_kit/mod.rs"]
mod log_kit;

mod refused_writes;
mod tail;

mod damage;
mod directory;
mod missing_files;

use grower_storage::disk::Disk;
use grower_storage::log::{IndexFactory, LogOptions};
use log_kit::{DIR, World, options};
use std::path::{Path, PathBuf};

/// The index stays out of the way: nothing is known to be durable but what was checkpointed.
fn without_hints() -> LogOptions {
    LogOptions { index_flush_bytes: u32::MAX, index: IndexFactory::sparse(1 << 20), ..options() }
}

fn roomy() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, ..without_hints() }
}

fn first_log() -> PathBuf {
    Path::new(DIR).join("00000000000000000000.growerlog")
}

fn bytes(world: &World, path: &Path) -> Vec<u8> {
    world.memory.map(path).unwrap().as_ref().to_vec()
}

/// Three batches, the first two of them flushed.
fn two_flushed_one_not(options: LogOptions) -> World {
    let mut world = World::new(options);
    world.append(1, 30).unwrap();
    world.append(2, 30).unwrap();
    assert!(world.flush());
    world.append(1, 30).unwrap();
    world
}
