//! The bytes of one file on a [`MemDisk`](super::MemDisk): as readers see them, and as a power cut would leave them.
//!
//! `seen` is the page cache, `durable` the platter, and `unsynced` lists what the next sync copies from one to the
//! other. A failed sync forgets that list and keeps both sides, as the kernel does: readers still see bytes that no
//! later sync will save.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::chance::Chance;

/// The size that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A file longer than this is refused, so that a wrong position does not take the machine's memory.
const LEN_MAX: u64 = 4 << 30;

pub(super) struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `seen` written since the last sync, in the order of writing.
    unsynced: Vec<Range<usize>>,
    /// Whether bytes or length changed since the last sync.
    changed: bool,
    room: Arc<Mutex<FreeSpace>>,
}

impl Contents {
    /// A file that holds `durable`, with nothing unsynced.
    pub(super) fn new(durable: Vec<u8>, room: Arc<Mutex<FreeSpace>>) -> Self {
        room.lock().used += durable.len() as u64;
        Self { seen: durable.clone(), durable, unsynced: Vec::new(), changed: false, room }
    }

    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn read(&self, into: &mut [u8], position: u64) -> usize {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.seen.get(start..).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        length
    }

    /// Writes what fits; if that is not all of it, says that the volume is full.
    pub(super) fn write(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        let start = checked_len(position, 0)?;
        let end = checked_len(position, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        let reached = self.extend(end);
        let length = self.seen.len().min(end).saturating_sub(start);
        if length > 0 {
            self.seen[start..start + length].copy_from_slice(&bytes[..length]);
            self.mark(start..start + length);
        }
        self.check();
        reached
    }

    /// Checks what holds between any two changes.
    fn check(&self) {
        debug_assert!(self.changed || self.unsynced.is_empty(), "a file that did not change has nothing to sync");
        let within = |range: &Range<usize>| range.start < range.end && range.end <= self.seen.len();
        debug_assert!(self.unsynced.iter().all(within), "only bytes of the file wait for a sync");
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = checked_len(len, 0)?;
        if len > self.seen.len() {
            return self.extend(len);
        }
        self.room.lock().used -= (self.seen.len() - len) as u64;
        self.seen.truncate(len);
        self.unsynced.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
        self.changed = true;
        self.check();
        Ok(())
    }

    pub(super) fn allocate(&mut self, len: u64) -> io::Result<()> {
        self.extend(checked_len(len, 0)?)
    }

    /// Appends zeros up to `len`, as far as there is room.
    fn extend(&mut self, len: usize) -> io::Result<()> {
        let before = self.seen.len();
        let Some(wanted) = len.checked_sub(before).filter(|wanted| *wanted > 0) else {
            return Ok(());
        };
        let granted = self.room.lock().take(wanted);
        self.seen.resize(before + granted, 0);
        if 0 < granted {
            self.mark(before..before + granted);
        }
        if granted < wanted { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn mark(&mut self, range: Range<usize>) {
        self.changed = true;
        match self.unsynced.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.unsynced.push(range),
        }
    }

    pub(super) fn sync(&mut self) {
        if !self.changed {
            return;
        }
        self.durable.resize(self.seen.len(), 0);
        for range in self.unsynced.drain(..) {
            self.durable[range.clone()].copy_from_slice(&self.seen[range]);
        }
        self.changed = false;
        self.check();
    }

    /// A sync that failed: its bytes count as clean and will not reach the disk.
    pub(super) fn sync_failed(&mut self) {
        self.unsynced.clear();
        self.changed = false;
    }

    /// Replaces the bytes, on the disk and in readers' sight; all of it is durable.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.seen.len() as u64;
        change(&mut self.seen);
        let mut room = self.room.lock();
        room.used = room.used - before + self.seen.len() as u64;
        self.durable.clone_from(&self.seen);
        self.unsynced.clear();
        self.changed = false;
    }

    /// Leaves the state after a power cut.
    pub(super) fn after_crash(&self) -> Vec<u8> {
        self.durable.clone()
    }

    /// Leaves the state after a power cut while the disk wrote the unsynced sectors: any of them, in any order, and
    /// any length between the two; a part of the length that no sector fills is zeros.
    pub(super) fn after_torn_crash(&self, chance: &mut Chance) -> Vec<u8> {
        let mut left = self.durable.clone();
        if !self.changed {
            return left;
        }
        left.resize(torn_len(self.durable.len(), self.seen.len(), chance), 0);
        let sectors = self.unsynced.iter().flat_map(|range| range.start / SECTOR..range.end.div_ceil(SECTOR));
        for sector in sectors.collect::<BTreeSet<_>>() {
            let end = ((sector + 1) * SECTOR).min(left.len()).min(self.seen.len());
            let range = (sector * SECTOR).min(end)..end;
            if chance.toss() {
                left[range.clone()].copy_from_slice(&self.seen[range]);
            }
        }
        left
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.room.lock().used -= self.seen.len() as u64;
    }
}

/// The old length, the new one, or one between.
fn torn_len(durable: usize, seen: usize, chance: &mut Chance) -> usize {
    match chance.below(3) {
        0 => durable,
        1 => seen,
        _ => durable.min(seen) + chance.below(durable.abs_diff(seen)),
    }
}

/// `position + length` as an index into memory.
fn checked_len(position: u64, length: usize) -> io::Result<usize> {
    let end = position.checked_add(length as u64).filter(|end| *end <= LEN_MAX);
    end.and_then(|end| usize::try_from(end).ok()).ok_or_else(|| ErrorKind::FileTooLarge.into())
}

/// How much the files of a disk take, removed ones with open handles included, and how much they may.
pub(super) struct FreeSpace {
    pub(super) used: u64,
    pub(super) capacity: u64,
}

impl FreeSpace {
    /// Takes `wanted` bytes or what is left of them, and says how many.
    fn take(&mut self, wanted: usize) -> usize {
        let free = usize::try_from(self.capacity.saturating_sub(self.used)).unwrap_or(usize::MAX);
        let granted = wanted.min(free);
        self.used += granted as u64;
        granted
    }
}

impl Default for FreeSpace {
    fn default() -> Self {
        Self { used: 0, capacity: 1 << 40 }
    }
}
