//! Which calls fail: counted by kind, chosen by number.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::disk::DiskError;

/// Kinds of calls to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading from a file, or mapping one.
    Read,
    /// Listing a directory.
    List,
    /// Asking for a length or for the free space.
    Stat,
    /// Locking a directory.
    Lock,
    /// Locking a directory together with others.
    LockShared,
    /// Writing to a file.
    Write,
    /// Cutting or extending a file.
    SetLen,
    /// Reserving room for a file.
    Allocate,
    /// Syncing one file; syncing several counts each.
    Sync,
    /// Creating a directory and its parents.
    CreateDir,
    /// Opening a directory, to sync it.
    OpenDir,
    /// Syncing a directory.
    SyncDir,
    /// Renaming a file or directory.
    Rename,
    /// Removing a file or a directory.
    Remove,
    /// Giving a file another name.
    Link,
}

impl Call {
    /// Every kind of call that changes what the disk holds or what of it is durable.
    pub const MUTATIONS: [Call; 10] = [
        Self::Create,
        Self::Write,
        Self::SetLen,
        Self::Allocate,
        Self::Sync,
        Self::CreateDir,
        Self::SyncDir,
        Self::Rename,
        Self::Remove,
        Self::Link,
    ];
}

/// One call that fails, or all from one on. The first call of a kind has the number 0.
#[derive(Clone, Debug)]
pub struct Fault {
    call: Call,
    nth: u64,
    lasting: bool,
    error: Errno,
    written: usize,
}

impl Fault {
    /// The `nth` such call fails with EIO: the device gave up.
    pub fn io(call: Call, nth: u64) -> Self {
        Self { call, nth, lasting: false, error: Errno::IO, written: 0 }
    }

    /// The `nth` such call fails with ENOSPC: the volume is full.
    pub fn full(call: Call, nth: u64) -> Self {
        Self { error: Errno::NOSPC, ..Self::io(call, nth) }
    }

    /// The `nth` such call fails with EMFILE: the process has no descriptor left.
    pub fn no_descriptors(call: Call, nth: u64) -> Self {
        Self { error: Errno::MFILE, ..Self::io(call, nth) }
    }

    /// The `nth` such call fails with EFBIG: the file may not grow any more.
    pub fn too_large(call: Call, nth: u64) -> Self {
        Self { error: Errno::FBIG, ..Self::io(call, nth) }
    }

    /// The `nth` link fails with EXDEV: the two names would lie on two volumes.
    pub fn other_volume(nth: u64) -> Self {
        Self { error: Errno::XDEV, ..Self::io(Call::Link, nth) }
    }

    /// So do all after it.
    pub fn from_then_on(self) -> Self {
        Self { lasting: true, ..self }
    }

    /// A write that fails has put its first `written` bytes into the file.
    pub fn after_bytes(self, written: usize) -> Self {
        Self { written, ..self }
    }

    fn strikes(&self, call: Call, number: u64) -> bool {
        self.call == call && if self.lasting { number >= self.nth } else { number == self.nth }
    }
}

/// The faults of one [`FaultDisk`](super::FaultDisk), and what was asked of it so far. Clones share one plan.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<FaultPlan>>);

#[derive(Default)]
struct FaultPlan {
    calls: BTreeMap<Call, u64>,
    faults: Vec<Fault>,
    hooks: Vec<(Call, u64, Hook)>,
    mutations: u64,
    power_lasts: Option<u64>,
    rule: Option<Arc<Rule>>,
}

type Hook = Box<dyn FnOnce() + Send>;
/// Says how a call fails that concerns these paths: two for a link or a rename, from where and to where.
type Rule = dyn Fn(Call, &[&Path]) -> Option<Errno> + Send + Sync;

impl Faults {
    /// Lets a call fail that was not made yet.
    pub fn inject(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Runs `hook` just before the `nth` such call; what it does to the disk below is what the call meets.
    ///
    /// `faults.before(Call::Sync, 3, move || memory.fail_next_sync())` loses the bytes of the fourth sync for good,
    /// where an injected fault would only report an error.
    pub fn before(&self, call: Call, nth: u64, hook: impl FnOnce() + Send + 'static) {
        self.0.lock().hooks.push((call, nth, Box::new(hook)));
    }

    /// Asks `rule` before each call that concerns these paths whether it fails, and how: a part of the disk may be
    /// read-only, another volume, or hang for as long as `rule` does not return.
    pub fn rule(&self, rule: impl Fn(Call, &[&Path]) -> Option<Errno> + Send + Sync + 'static) {
        self.0.lock().rule = Some(Arc::new(rule));
    }

    /// Lets the power last for `mutations` calls that change the disk, counted from the start: the next one fails,
    /// and so does everything after it, reads included. Trying 0, 1, 2.. tests a crash between each two steps.
    pub fn lose_power_after(&self, mutations: u64) {
        self.0.lock().power_lasts = Some(mutations);
    }

    /// How many calls of a kind were made, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.0.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// How many calls of the kinds in [`Call::MUTATIONS`] were made, failed ones included.
    pub fn mutations(&self) -> u64 {
        self.0.lock().mutations
    }

    /// Drops all faults and hooks, restores the power and counts from 0 again.
    pub fn heal(&self) {
        *self.0.lock() = FaultPlan::default();
    }

    /// Counts a call and says whether it fails.
    pub(super) fn admit(&self, call: Call, operation: &'static str, path: &Path) -> Result<(), DiskError> {
        self.admit_both(call, operation, &[path])
    }

    /// The same for a call with two paths, the first of which an error names.
    pub(super) fn admit_both(&self, call: Call, operation: &'static str, paths: &[&Path]) -> Result<(), DiskError> {
        self.admit_write(call, paths).map_err(|struck| {
            let path = paths.first().copied().unwrap_or(Path::new("."));
            match call {
                Call::Sync | Call::SyncDir => DiskError::of_sync(operation, path)(struck.error),
                _ => DiskError::at(operation, path)(struck.error),
            }
        })
    }

    /// The same for a call that can be done in part.
    pub(super) fn admit_write(&self, call: Call, paths: &[&Path]) -> Result<(), Struck> {
        let (verdict, hooks, rule) = self.0.lock().count(call);
        // Outside of the lock: a hook may look at the plan.
        hooks.into_iter().for_each(|hook| hook());
        let broken = rule.and_then(|rule| rule(call, paths));
        verdict.and(broken.map_or(Ok(()), |error| Err(Struck { error: error.into(), written: 0 })))
    }
}

/// How a call fails.
pub(super) struct Struck {
    pub(super) error: io::Error,
    pub(super) written: usize,
}

impl FaultPlan {
    fn count(&mut self, call: Call) -> (Result<(), Struck>, Vec<Hook>, Option<Arc<Rule>>) {
        let counter = self.calls.entry(call).or_default();
        let number = *counter;
        *counter += 1;
        self.mutations += u64::from(Call::MUTATIONS.contains(&call));
        let hooks = self.hooks.extract_if(.., |(kind, nth, _)| (*kind, *nth) == (call, number));
        let hooks = hooks.map(|(_, _, hook)| hook).collect();
        (self.judge(call, number), hooks, self.rule.clone())
    }

    fn judge(&self, call: Call, number: u64) -> Result<(), Struck> {
        if self.power_lasts.is_some_and(|lasts| self.mutations > lasts) {
            return Err(Struck { error: io::Error::other("the power is gone"), written: 0 });
        }
        match self.faults.iter().find(|fault| fault.strikes(call, number)) {
            Some(fault) => Err(Struck { error: fault.error.into(), written: fault.written }),
            None => Ok(()),
        }
    }
}
