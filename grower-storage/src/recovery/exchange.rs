//! Puts new files in the places of old ones, as an audit record says.

use super::Directory;
use crate::disk::{Disk, DiskError, if_found};
use crate::kept::{self, AcceptedLosses, Checkpoint, DurableEnd, Exchange, KeptError};
use crate::segment;
use grower_protocol::ids::Offset;
use std::path::Path;

/// The name of a new file until it takes its place. Opening a log removes such files, unless a record speaks of them.
pub(crate) fn name_of_new(name: &str) -> String {
    format!("{name}.repaired.tmp")
}

/// Carries out an exchange that was decided and not finished, if there is one. May be repeated.
pub(crate) fn finish_exchange(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    let record = match kept::load::<AcceptedLosses>(disk, dir) {
        Ok(record) => record,
        Err(KeptError::Disk(error)) if !error.is_not_found() => return Err(error),
        Err(_) => return Ok(()), // None, or damaged: then a check says so.
    };
    let Some(exchange) = &record.exchange else { return Ok(()) };
    replace_files(disk, dir, exchange)?;
    if let Some(durable) = exchange.durable {
        store_durable_end(disk, dir, durable)?;
    }
    kept::store(disk, dir, &AcceptedLosses { exchange: None, losses: record.losses })
}

/// Each name holds the old file or the new one; in which order they change does not matter, since nobody looks before all
/// have.
fn replace_files(disk: &dyn Disk, dir: &Path, exchange: &Exchange) -> Result<(), DiskError> {
    for base in &exchange.segments {
        for name in [segment::log_name(*base), segment::index_name(*base)] {
            if_found(disk.rename(&dir.join(name_of_new(&name)), &dir.join(name)))?;
        }
    }
    for base in &exchange.orphans {
        if_found(disk.remove_file(&dir.join(segment::index_name(*base))))?;
    }
    disk.sync_dir(dir)
}

/// What was known of the old file's durable bytes means nothing in the new one.
fn store_durable_end(disk: &dyn Disk, dir: &Path, durable: DurableEnd) -> Result<(), DiskError> {
    let log_start = match kept::load::<Checkpoint>(disk, dir) {
        Ok(checkpoint) => checkpoint.log_start,
        Err(KeptError::Disk(error)) if !error.is_not_found() => return Err(error),
        Err(_) => first_log(disk, dir)?,
    };
    kept::store(disk, dir, &Checkpoint { log_start, durable, truncating: None })
}

fn first_log(disk: &dyn Disk, dir: &Path) -> Result<Offset, DiskError> {
    let directory = Directory::list(disk, dir)?;
    Ok(directory.and_then(|directory| directory.logs.first().copied()).unwrap_or_default())
}
