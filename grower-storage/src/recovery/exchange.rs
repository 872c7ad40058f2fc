//! Carries out the file exchange of a repair, as its audit record says.

use super::Directory;
use crate::disk::{Disk, DiskError, if_found};
use crate::segment;
use crate::state_file::{self, AcceptedLosses, Checkpoint, DurableEnd, FileExchange, StateFileError};
use grower_protocol::ids::Offset;
use std::path::Path;

/// The name of a new file until it takes its place. Opening a log removes such files, unless a record names them.
pub(crate) fn name_of_new(name: &str) -> String {
    format!("{name}.repaired.tmp")
}

/// Finishes an exchange that was decided, if there is one. May be repeated.
pub(crate) fn finish_exchange(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    let record = match state_file::load::<AcceptedLosses>(disk, dir) {
        Ok(record) => record,
        Err(StateFileError::Disk(error)) if !error.is_not_found() => return Err(error),
        Err(_) => return Ok(()), // None, or damaged: then a check reports it.
    };
    let Some(exchange) = &record.exchange else { return Ok(()) };
    replace_files(disk, dir, exchange)?;
    if let Some(durable) = exchange.durable {
        store_durable_end(disk, dir, durable)?;
    }
    state_file::store(disk, dir, &AcceptedLosses { exchange: None, losses: record.losses })
}

/// Renames the files. Each name holds the old file or the new one. Their order does not matter: the log is opened
/// after all of them.
fn replace_files(disk: &dyn Disk, dir: &Path, exchange: &FileExchange) -> Result<(), DiskError> {
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

/// Stores the durable end of the new file: that of the old one does not apply to it.
fn store_durable_end(disk: &dyn Disk, dir: &Path, durable: DurableEnd) -> Result<(), DiskError> {
    let log_start = match state_file::load::<Checkpoint>(disk, dir) {
        Ok(checkpoint) => checkpoint.log_start,
        Err(StateFileError::Disk(error)) if !error.is_not_found() => return Err(error),
        Err(_) => first_log(disk, dir)?,
    };
    state_file::store(disk, dir, &Checkpoint { log_start, durable, truncating: None })
}

fn first_log(disk: &dyn Disk, dir: &Path) -> Result<Offset, DiskError> {
    let directory = Directory::list(disk, dir)?;
    Ok(directory.and_then(|directory| directory.logs.first().copied()).unwrap_or_default())
}
