//! The names on a [`MemDisk`](super::MemDisk): as readers see them, and as a power cut would leave them.
//!
//! A change of names is seen at once, and durable once each directory that it touches has been synced. Every crash
//! respects two orders: of two changes to one name the later never outlives the earlier, and a directory is gone for
//! good only after the files that were moved out of it have arrived. A rename is one change, so one of its two names
//! always exists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::contents::Contents;
use crate::disk::{DirEntry, Inodes};

/// The number of a directory, which it keeps when it is renamed.
type DirId = u64;

const ROOT: DirId = 0;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    dir: DirId,
    last: String,
}

#[derive(Clone)]
enum NameEntry {
    File(Arc<Mutex<Contents>>),
    Dir(DirId),
}

type DirTable = BTreeMap<Name, NameEntry>;

#[derive(Default)]
pub(super) struct NameTree {
    seen: DirTable,
    durable: DirTable,
    /// Changes that `durable` does not have yet, oldest first.
    pending: Vec<Change>,
    dirs_made: u64,
    /// How many names there may be; none for no limit.
    inodes_max: Option<u64>,
}

/// One step from a table of names to the next.
struct Change {
    cleared: Option<Name>,
    set: Option<(Name, NameEntry)>,
    /// The directory that this removed.
    removed: Option<DirId>,
    /// The directories that must be synced before this is durable.
    unsynced: BTreeSet<DirId>,
}

impl Change {
    fn names(&self) -> impl Iterator<Item = &Name> {
        self.cleared.iter().chain(self.set.iter().map(|(name, _)| name))
    }

    fn apply(&self, table: &mut DirTable) {
        if let Some(name) = &self.cleared {
            table.remove(name);
        }
        if let Some((name, node)) = &self.set {
            table.insert(name.clone(), node.clone());
        }
    }
}

impl NameTree {
    pub(super) fn create(&mut self, path: &Path, contents: Arc<Mutex<Contents>>) -> io::Result<()> {
        let name = self.name(path)?;
        if self.seen.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.check_inode()?;
        self.change(None, Some((name, NameEntry::File(contents))), None);
        Ok(())
    }

    pub(super) fn set_inodes(&mut self, most: u64) {
        self.inodes_max = Some(most);
    }

    pub(super) fn inodes(&self) -> Option<Inodes> {
        self.inodes_max.map(|total| Inodes { free: total.saturating_sub(self.seen.len() as u64), total })
    }

    fn check_inode(&self) -> io::Result<()> {
        match self.inodes() {
            Some(Inodes { free: 0, .. }) => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Contents>>> {
        match self.node(&parts(path)?)? {
            NameEntry::File(contents) => Ok(contents),
            NameEntry::Dir(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<DirId> {
        match self.node(&parts(path)?)? {
            NameEntry::Dir(id) => Ok(id),
            NameEntry::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entry = |(name, node): (&Name, &NameEntry)| DirEntry {
            name: name.last.clone(),
            is_dir: matches!(node, NameEntry::Dir(_)),
        };
        Ok(self.children(self.dir(path)?).map(entry).collect())
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for part in parts(path)? {
            let name = Name { dir, last: part.to_owned() };
            dir = match self.seen.get(&name) {
                Some(NameEntry::Dir(id)) => *id,
                Some(NameEntry::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                None => {
                    self.check_inode()?;
                    self.make_dir(name.clone())
                }
            };
            self.settle(BTreeSet::from([name]), |_| false);
        }
        Ok(())
    }

    fn make_dir(&mut self, name: Name) -> DirId {
        self.dirs_made += 1;
        self.change(None, Some((name, NameEntry::Dir(self.dirs_made))), None);
        self.dirs_made
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_name, to_name) = (self.name(from)?, self.name(to)?);
        let node = self.seen.get(&from_name).cloned().ok_or(ErrorKind::NotFound)?;
        if from_name == to_name {
            return Ok(());
        }
        if matches!(node, NameEntry::Dir(_)) && parts(to)?.starts_with(&parts(from)?) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let removed = match (&node, self.seen.get(&to_name)) {
            (_, None) | (NameEntry::File(_), Some(NameEntry::File(_))) => None,
            (NameEntry::File(_), Some(NameEntry::Dir(_))) => return Err(ErrorKind::IsADirectory.into()),
            (NameEntry::Dir(_), Some(NameEntry::File(_))) => return Err(ErrorKind::NotADirectory.into()),
            (NameEntry::Dir(_), Some(NameEntry::Dir(id))) if self.children(*id).next().is_none() => Some(*id),
            (NameEntry::Dir(_), Some(NameEntry::Dir(_))) => return Err(ErrorKind::DirectoryNotEmpty.into()),
        };
        self.change(Some(from_name), Some((to_name, node)), removed);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let name = self.name(path)?;
        self.change(Some(name), None, None);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = (self.dir(path)?, self.name(path)?);
        self.empty(dir);
        self.change(Some(name), None, Some(dir));
        Ok(())
    }

    fn empty(&mut self, dir: DirId) {
        let children: Vec<_> = self.children(dir).map(|(name, node)| (name.clone(), node.clone())).collect();
        for (name, node) in children {
            let removed = match node {
                NameEntry::Dir(id) => Some(id),
                NameEntry::File(_) => None,
            };
            removed.into_iter().for_each(|id| self.empty(id));
            self.change(Some(name), None, removed);
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir(path)?;
        for change in &mut self.pending {
            change.unsynced.remove(&dir);
        }
        self.settle(BTreeSet::new(), |change| change.unsynced.is_empty());
        Ok(())
    }

    /// Forgets the changes that are not durable, except those that `survives` picks and what they rest on; then
    /// puts what `revive` makes of each file in its place.
    pub(super) fn crash(&mut self, mut survives: impl FnMut() -> bool, mut revive: impl FnMut(&Contents) -> Contents) {
        self.settle(BTreeSet::new(), |_| survives());
        self.pending.clear();
        for node in self.durable.values_mut() {
            if let NameEntry::File(contents) = node {
                let revived = revive(&contents.lock());
                *contents = Arc::new(Mutex::new(revived));
            }
        }
        self.seen = self.durable.clone();
    }

    /// The path of each file, sorted, from the root.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        self.collect(ROOT, Path::new("/"), &mut files);
        files.sort();
        files
    }

    fn collect(&self, dir: DirId, path: &Path, files: &mut Vec<PathBuf>) {
        for (name, node) in self.children(dir) {
            let path = path.join(&name.last);
            match node {
                NameEntry::File(_) => files.push(path),
                NameEntry::Dir(id) => self.collect(*id, &path, files),
            }
        }
    }

    fn children(&self, dir: DirId) -> impl Iterator<Item = (&Name, &NameEntry)> {
        let first = Name { dir, last: String::new() };
        self.seen.range(first..).take_while(move |(name, _)| name.dir == dir)
    }

    fn node(&self, parts: &[&str]) -> io::Result<NameEntry> {
        parts.iter().try_fold(NameEntry::Dir(ROOT), |node, part| {
            let NameEntry::Dir(dir) = node else {
                return Err(ErrorKind::NotADirectory.into());
            };
            let name = Name { dir, last: (*part).to_owned() };
            self.seen.get(&name).cloned().ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    /// Where a path's last part stands; the directories before it must be there.
    fn name(&self, path: &Path) -> io::Result<Name> {
        let parts = parts(path)?;
        let (last, dirs) = parts.split_last().ok_or(ErrorKind::InvalidInput)?;
        match self.node(dirs)? {
            NameEntry::Dir(dir) => Ok(Name { dir, last: (*last).to_owned() }),
            NameEntry::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn change(&mut self, cleared: Option<Name>, set: Option<(Name, NameEntry)>, removed: Option<DirId>) {
        let mut change = Change { cleared, set, removed, unsynced: BTreeSet::new() };
        change.unsynced = change.names().map(|name| name.dir).collect();
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Makes durable the pending changes that are `due` or touch one of `names`, and the older ones they rest on.
    fn settle(&mut self, mut names: BTreeSet<Name>, mut due: impl FnMut(&Change) -> bool) {
        let mut removed_dirs = BTreeSet::new();
        let mut settled = Vec::new();
        for (at, change) in self.pending.iter().enumerate().rev() {
            let needed = |name: &Name| names.contains(name) || removed_dirs.contains(&name.dir);
            if due(change) || change.names().any(needed) {
                names.extend(change.names().cloned());
                removed_dirs.extend(change.removed);
                settled.push(at);
            }
        }
        let mut at = 0;
        self.pending.retain(|change| {
            let settles = settled.last() == Some(&at);
            if settles {
                settled.pop();
                change.apply(&mut self.durable);
            }
            at += 1;
            !settles
        });
        debug_assert!(settled.is_empty(), "every change that is due settles");
        let all_durable = || self.seen.keys().eq(self.durable.keys());
        debug_assert!(!self.pending.is_empty() || all_durable(), "with nothing pending all names are durable");
    }
}

/// The names in a path. A relative path starts at the root as well.
fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let named = |component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(part) => Some(part.to_str().ok_or_else(|| ErrorKind::InvalidInput.into())),
        Component::ParentDir | Component::Prefix(_) => Some(Err(ErrorKind::InvalidInput.into())),
    };
    path.components().filter_map(named).collect()
}
