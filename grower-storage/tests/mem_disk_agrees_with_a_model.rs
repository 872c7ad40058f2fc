//! `MemDisk` against a model that is slow and obvious: whole copies of each file and each directory, one as it is
//! seen and one as it would be found after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use grower_storage::disk::{Disk, MemDisk, SharedFile};
use proptest::prelude::*;

const DIRS: [&str; 2] = ["a", "b"];
const NAMES: [&str; 3] = ["x", "y", "z"];

#[derive(Clone, Copy, Debug)]
struct Name {
    dir: usize,
    name: usize,
}

impl Name {
    fn path(self) -> PathBuf {
        PathBuf::from("/").join(DIRS[self.dir]).join(NAMES[self.name])
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(Name),
    Write {
        name: Name,
        position: usize,
        length: usize,
        byte: u8,
    },
    SetLen(Name, usize),
    Sync(Name),
    FailSync(Name),
    /// Within one directory: what moves between two is durable in ways that whole copies cannot tell.
    Rename(Name, usize),
    Remove(Name),
    SyncDir(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || (0..DIRS.len(), 0..NAMES.len()).prop_map(|(dir, name)| Name { dir, name });
    prop_oneof![
        3 => name().prop_map(Step::Create),
        6 => (name(), 0usize..3000, 0usize..2000, 1u8..)
            .prop_map(|(name, position, length, byte)| Step::Write { name, position, length, byte }),
        2 => (name(), 0usize..3000).prop_map(|(name, len)| Step::SetLen(name, len)),
        3 => name().prop_map(Step::Sync),
        1 => name().prop_map(Step::FailSync),
        2 => (name(), 0..NAMES.len()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name().prop_map(Step::Remove),
        3 => (0..DIRS.len()).prop_map(Step::SyncDir),
        1 => Just(Step::Crash),
    ]
}

#[derive(Clone, Default)]
struct ModelFile {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// For each seen byte whether the next sync saves it.
    dirty: Vec<bool>,
    changed: bool,
}

impl ModelFile {
    fn write(&mut self, position: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.resize(self.seen.len().max(position + bytes.len()));
        for (at, byte) in (position..).zip(bytes) {
            (self.seen[at], self.dirty[at]) = (*byte, true);
        }
        self.changed = true;
    }

    fn resize(&mut self, len: usize) {
        self.changed |= len != self.seen.len();
        self.seen.resize(len, 0);
        self.dirty.resize(len, true);
    }

    fn sync(&mut self) {
        if !self.changed {
            return;
        }
        let old = std::mem::take(&mut self.durable);
        let byte = |at: usize| if self.dirty[at] { self.seen[at] } else { old.get(at).copied().unwrap_or(0) };
        self.durable = (0..self.seen.len()).map(byte).collect();
        self.fail_sync();
    }

    fn fail_sync(&mut self) {
        self.dirty.fill(false);
        self.changed = false;
    }

    fn after_crash(&self) -> Self {
        let len = self.durable.len();
        Self { seen: self.durable.clone(), durable: self.durable.clone(), dirty: vec![false; len], changed: false }
    }
}

/// Names lead to indexes into `files`; a renamed file keeps its index.
#[derive(Default)]
struct Model {
    files: Vec<ModelFile>,
    seen: [BTreeMap<usize, usize>; 2],
    durable: [BTreeMap<usize, usize>; 2],
    /// Names that changed since their directory was synced, be it there and back.
    touched: [BTreeSet<usize>; 2],
}

impl Model {
    fn file(&mut self, name: Name) -> Option<&mut ModelFile> {
        let index = *self.seen[name.dir].get(&name.name)?;
        self.files.get_mut(index)
    }

    /// The bytes of each file that there is, by path.
    fn seen(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files =
            self.seen.iter().enumerate().flat_map(|(dir, names)| {
                names.iter().map(move |(name, index)| (Name { dir, name: *name }.path(), *index))
            });
        files.map(|(path, index)| (path, self.files[index].seen.clone())).collect()
    }

    /// Does what the step does and says whether it can be done.
    fn run(&mut self, step: &Step) -> bool {
        match step {
            Step::Create(name) => {
                self.touched[name.dir].insert(name.name);
                let free = !self.seen[name.dir].contains_key(&name.name);
                if free {
                    self.seen[name.dir].insert(name.name, self.files.len());
                    self.files.push(ModelFile::default());
                }
                free
            }
            Step::Write { name, position, length, byte } => {
                self.file(*name).map(|file| file.write(*position, &vec![*byte; *length])).is_some()
            }
            Step::SetLen(name, len) => self.file(*name).map(|file| file.resize(*len)).is_some(),
            Step::Sync(name) => self.file(*name).map(ModelFile::sync).is_some(),
            Step::FailSync(name) => {
                self.file(*name).map(ModelFile::fail_sync);
                false
            }
            Step::Rename(from, to) => match self.seen[from.dir].remove(&from.name) {
                Some(index) => {
                    self.touched[from.dir].extend([from.name, *to]);
                    self.seen[from.dir].insert(*to, index);
                    true
                }
                None => false,
            },
            Step::Remove(name) => {
                self.touched[name.dir].insert(name.name);
                self.seen[name.dir].remove(&name.name).is_some()
            }
            Step::SyncDir(dir) => {
                self.touched[*dir].clear();
                self.durable[*dir] = self.seen[*dir].clone();
                true
            }
            Step::Crash => {
                self.seen = self.durable.clone();
                self.touched = Default::default();
                self.files.iter_mut().for_each(|file| *file = file.after_crash());
                true
            }
        }
    }
}

fn run(disk: &MemDisk, step: &Step) -> bool {
    let with = |name: &Name, act: &dyn Fn(SharedFile) -> bool| disk.open(&name.path()).is_ok_and(act);
    match step {
        Step::Create(name) => disk.create(&name.path()).is_ok(),
        Step::Write { name, position, length, byte } => {
            with(name, &|file| file.write_all_at(&vec![*byte; *length], *position as u64).is_ok())
        }
        Step::SetLen(name, len) => with(name, &|file| file.set_len(*len as u64).is_ok()),
        Step::Sync(name) => with(name, &|file| disk.sync_many(&[file]).is_ok()),
        Step::FailSync(name) => with(name, &|file| {
            disk.fail_next_sync();
            disk.sync_many(&[file]).is_ok()
        }),
        Step::Rename(from, to) => disk.rename(&from.path(), &Name { name: *to, ..*from }.path()).is_ok(),
        Step::Remove(name) => disk.remove_file(&name.path()).is_ok(),
        Step::SyncDir(dir) => disk.sync_dir(&PathBuf::from("/").join(DIRS[*dir])).is_ok(),
        Step::Crash => {
            disk.crash();
            true
        }
    }
}

fn seen(disk: &MemDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let bytes = |path: PathBuf| (path.clone(), disk.map(&path).unwrap().as_ref().to_vec());
    disk.files().into_iter().map(bytes).collect()
}

fn both() -> (MemDisk, Model) {
    let disk = MemDisk::default();
    for dir in DIRS {
        disk.create_dir_all(&PathBuf::from("/").join(dir)).unwrap();
    }
    (disk, Model::default())
}

proptest! {
    #[test]
    fn every_step_and_every_crash_agree_with_the_model(steps in prop::collection::vec(step(), 0..60)) {
        let (disk, mut model) = both();
        for step in &steps {
            prop_assert_eq!(run(&disk, step), model.run(step), "{:?}", step);
            prop_assert_eq!(seen(&disk), model.seen(), "after {:?}", step);
        }
        // A removed file holds its room until that is durable.
        run(&disk, &Step::Crash);
        model.run(&Step::Crash);
        prop_assert_eq!(seen(&disk), model.seen());
        let used = model.seen().values().map(|bytes| bytes.len() as u64).sum::<u64>();
        let space = disk.space().unwrap();
        prop_assert_eq!(space.total - space.free, used);
    }

    #[test]
    fn a_torn_crash_leaves_each_byte_old_new_or_zero(
        steps in prop::collection::vec(step(), 0..60),
        seed: u64,
    ) {
        let (disk, mut model) = both();
        for step in &steps {
            run(&disk, step);
            model.run(step);
        }
        disk.crash_torn(seed);
        for (path, left) in seen(&disk) {
            let possible = model.files.iter().any(|file| is_between(file, &left));
            prop_assert!(possible, "{path:?} holds {} bytes of no file", left.len());
        }
        for (dir, durable) in model.durable.iter().enumerate() {
            let untouched = durable.keys().filter(|name| !model.touched[dir].contains(name));
            for name in untouched.map(|name| Name { dir, name: *name }) {
                prop_assert!(disk.open(&name.path()).is_ok(), "{name:?} was durable and is gone");
            }
        }
    }
}

fn is_between(file: &ModelFile, left: &[u8]) -> bool {
    let (shorter, longer) = (file.seen.len().min(file.durable.len()), file.seen.len().max(file.durable.len()));
    (shorter..=longer).contains(&left.len())
        && left.iter().enumerate().all(|(at, byte)| {
            let old = file.durable.get(at).copied().unwrap_or(0);
            let new = file.seen.get(at).copied().unwrap_or(0);
            *byte == old || *byte == new
        })
}
