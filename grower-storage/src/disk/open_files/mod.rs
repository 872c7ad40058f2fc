//! The budget of descriptors for files that are opened when they are read.
//!
//! A log may have more segments than a process may have open files. A sealed segment keeps its path, and its
//! descriptor for as long as it is among those read lately: beyond a limit the one that was not read for longest is
//! closed, and opened again when it is read next. A reader holds the file meanwhile, so nothing is closed under it.

mod reserve;

use super::{Disk, DiskError, SharedFile};
use parking_lot::{Mutex, RwLock};
use reserve::DescriptorReserve;
use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Files that stay open between two reads. Clones share the budget.
#[derive(Clone)]
pub struct OpenFiles(Arc<Budget>);

struct Budget {
    open_max: AtomicUsize,
    /// About in the order in which they were opened, or found to be read since.
    ring: Mutex<Ring>,
    reserve: DescriptorReserve,
}

type Ring = VecDeque<Weak<FileSlot>>;

impl OpenFiles {
    /// Keeps at most `open_max` files open that are not being read.
    pub fn new(open_max: usize) -> Self {
        Self(Arc::new(Budget {
            open_max: AtomicUsize::new(open_max),
            ring: Mutex::default(),
            reserve: DescriptorReserve::default(),
        }))
    }

    /// Changes how many files are kept open.
    pub fn set_max(&self, open_max: usize) {
        self.0.open_max.store(open_max, Ordering::Relaxed);
        self.close_beyond(open_max);
    }

    /// How many files are open that may be closed between two reads.
    pub fn count(&self) -> usize {
        let slots: Vec<_> = self.0.ring.lock().iter().filter_map(Weak::upgrade).collect();
        slots.iter().filter(|slot| matches!(&*slot.state.read(), OpenState::OnDemand(_, Some(_)))).count()
    }

    /// Closes one file that is not being read, to free a descriptor; false if there is none.
    pub fn close_one(&self) -> bool {
        loop {
            let out = take_oldest(&mut self.0.ring.lock()); // Closed when the lock is free again.
            match out {
                Some(Removed::Closed(_)) => return true,
                Some(Removed::Forgotten) => {}
                None => return false,
            }
        }
    }

    /// Keeps up to `most` descriptors back for files, as many as can be had now. Connections then cannot take the last
    /// ones.
    pub fn reserve(&self, most: usize) {
        self.0.reserve.take(most);
    }

    /// Frees a descriptor for a file that must be opened: of a file that is not being read, or of the reserve.
    pub(super) fn give_way(&self) -> bool {
        self.close_one() || self.0.reserve.give()
    }

    /// Whether nothing of the reserve is missing, after it took what was free.
    pub fn is_reserve_full(&self) -> bool {
        self.refill().0 == 0
    }

    /// Whether more than half of the reserve is missing, though it took what was free.
    pub fn is_reserve_low(&self) -> bool {
        let (missing, size) = self.refill();
        size < 2 * missing
    }

    /// Fills the reserve, if need be by closing files that are not being read. Returns how many are missing, and its
    /// size.
    fn refill(&self) -> (usize, usize) {
        loop {
            let (missing, size) = self.0.reserve.refill();
            if missing == 0 || !self.close_one() {
                return (missing, size);
            }
        }
    }

    fn admit(&self, slot: &Arc<FileSlot>) {
        self.0.ring.lock().push_back(Arc::downgrade(slot));
        self.close_beyond(self.0.open_max.load(Ordering::Relaxed));
    }

    fn close_beyond(&self, most: usize) {
        loop {
            let mut ring = self.0.ring.lock();
            let out = if most < ring.len() { take_oldest(&mut ring) } else { None };
            drop(ring);
            if out.is_none() {
                return;
            }
        }
    }
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open_max = self.0.open_max.load(Ordering::Relaxed);
        f.debug_struct("OpenFiles").field("open_max", &open_max).finish_non_exhaustive()
    }
}

/// An entry removed from the ring.
enum Removed {
    /// A file that was open; dropping it closes it.
    Closed(#[expect(dead_code, reason = "what counts is when it is dropped")] SharedFile),
    /// A file that is no longer one to be closed.
    Forgotten,
}

/// Takes out the file that was not read for longest; none if all are being read.
fn take_oldest(ring: &mut Ring) -> Option<Removed> {
    // Each file that was read since it was looked at last gets a second chance, so twice around is enough.
    for _ in 0..2 * ring.len() {
        let oldest = ring.pop_front()?;
        let Some(slot) = oldest.upgrade() else { return Some(Removed::Forgotten) };
        if slot.used.swap(false, Ordering::Relaxed) {
            ring.push_back(oldest);
            continue;
        }
        match slot.close() {
            CloseAttempt::Closed(file) => return Some(Removed::Closed(file)),
            CloseAttempt::NotOpen => return Some(Removed::Forgotten),
            CloseAttempt::InUse => ring.push_back(oldest),
        }
    }
    None
}

/// A file that is read now and then: open while it is written, afterwards opened when it is read.
pub(crate) struct FileOnDemand {
    path: PathBuf,
    slot: Arc<FileSlot>,
}

struct FileSlot {
    state: RwLock<OpenState>,
    /// Whether it was read since it was last looked at.
    used: AtomicBool,
}

enum OpenState {
    /// It stays open.
    Held(SharedFile),
    /// It may be closed, and is opened again when it is read.
    OnDemand(Arc<dyn Disk>, Option<SharedFile>),
    /// Its path may lead to another file, or to none: it is never opened again. Stays open if it was.
    Gone(Option<SharedFile>),
}

impl OpenState {
    fn file(&self) -> Option<&SharedFile> {
        match self {
            Self::Held(file) => Some(file),
            Self::OnDemand(_, file) | Self::Gone(file) => file.as_ref(),
        }
    }
}

enum CloseAttempt {
    Closed(SharedFile),
    InUse,
    NotOpen,
}

impl FileOnDemand {
    /// A file that stays open until it is [released](FileOnDemand::release).
    pub(crate) fn held(file: SharedFile) -> Self {
        let path = file.path().to_owned();
        Self::held_as(path, file)
    }

    /// The same for a file that will have this path when it is released.
    pub(crate) fn held_as(path: PathBuf, file: SharedFile) -> Self {
        let slot = FileSlot { state: RwLock::new(OpenState::Held(file)), used: AtomicBool::new(false) };
        Self { path, slot: Arc::new(slot) }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it be closed between two reads: it is synced and never written again.
    pub(crate) fn release(&self, disk: &Arc<dyn Disk>) {
        let mut state = self.slot.state.write();
        let OpenState::Held(file) = &*state else { return };
        *state = OpenState::OnDemand(disk.clone(), Some(file.clone()));
        drop(state);
        disk.open_files().admit(&self.slot);
    }

    /// Its path is about to be removed, or to become another file's.
    pub(crate) fn retire(&self) {
        let mut state = self.slot.state.write();
        let file = state.file().cloned();
        *state = OpenState::Gone(file);
    }

    /// The file, open for as long as the caller keeps it. After [`FileOnDemand::retire`] it may be an error
    /// (`NotFound`).
    pub(crate) fn get(&self) -> Result<SharedFile, DiskError> {
        let disk = match &*self.slot.state.read() {
            OpenState::OnDemand(disk, None) => disk.clone(),
            state => return self.slot.used_now(state).ok_or_else(|| self.gone()),
        };
        // Without the lock: two readers at once may open it twice, and one handle stays.
        let opened = disk.open(&self.path)?;
        let mut state = self.slot.state.write();
        match &mut *state {
            OpenState::OnDemand(_, file @ None) => *file = Some(opened.clone()),
            state => return self.slot.used_now(state).ok_or_else(|| self.gone()),
        }
        drop(state);
        disk.open_files().admit(&self.slot);
        Ok(opened)
    }

    fn gone(&self) -> DiskError {
        DiskError::at("open", &self.path)(ErrorKind::NotFound.into())
    }
}

impl FileSlot {
    fn used_now(&self, state: &OpenState) -> Option<SharedFile> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed); // Most readers find it set, and share its cache line.
        }
        state.file().cloned()
    }

    fn close(&self) -> CloseAttempt {
        let Some(mut state) = self.state.try_write() else { return CloseAttempt::InUse };
        let OpenState::OnDemand(_, file) = &mut *state else { return CloseAttempt::NotOpen };
        match file.take() {
            Some(open) if Arc::strong_count(&open) == 1 => CloseAttempt::Closed(open),
            Some(open) => {
                *file = Some(open);
                CloseAttempt::InUse
            }
            None => CloseAttempt::NotOpen,
        }
    }
}

#[cfg(test)]
mod tests;
