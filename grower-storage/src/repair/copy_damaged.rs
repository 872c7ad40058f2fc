//! Copies damaged bytes before they are replaced: they may be readable by other means.

use super::{Acceptance, AcceptedLoss, Damage};
use crate::disk::{Disk, DiskError};
use std::path::Path;

const CHUNK: usize = 1 << 20;

/// Copies damaged bytes into `cut_dir` under `name`; durable when this returns. The returned loss names the copy.
pub(super) fn copy_damaged(
    disk: &dyn Disk,
    cut_dir: &Path,
    name: &str,
    damage: &Damage,
    acceptance: &Acceptance,
) -> Result<AcceptedLoss, DiskError> {
    let mut loss = AcceptedLoss {
        offsets: damage.offsets.clone(),
        at: acceptance.at,
        by: acceptance.by.clone(),
        reason: damage.reason.clone(),
        kept: String::new(),
        bytes: 0,
        crc: 0,
    };
    if damage.bytes.is_empty() {
        return Ok(loss); // The file ends before it, or is gone.
    }
    disk.create_dir_all(cut_dir)?;
    let path = cut_dir.join(name);
    match disk.remove_file(&path) {
        Err(error) if !error.is_not_found() => return Err(error), // From a repair that a crash interrupted.
        _ => {}
    }
    let (from, to) = (disk.open(&damage.path)?, disk.create(&path)?);
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    while loss.bytes < damage.bytes.end - damage.bytes.start {
        let left = damage.bytes.end - damage.bytes.start - loss.bytes;
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = from.read_at(&mut buffer[..wanted], damage.bytes.start + loss.bytes)?;
        if read == 0 {
            break; // The file ends within the damage.
        }
        crc.update(&buffer[..read]);
        to.write_all_at(&buffer[..read], loss.bytes)?;
        loss.bytes += read as u64;
    }
    disk.sync_many(&[to])?;
    disk.sync_dir(cut_dir)?;
    (loss.kept, loss.crc) = (name.to_owned(), crc.finalize());
    Ok(loss)
}
