use super::*;
use crate::disk::{Call, Fault, FaultDisk, MemDisk};

struct World {
    disk: Arc<dyn Disk>,
    memory: MemDisk,
    faults: crate::disk::Faults,
}

fn world(open_max: usize) -> World {
    let memory = MemDisk::default();
    let faulty = FaultDisk::new(memory.clone());
    let faults = faulty.faults();
    memory.open_files().set_max(open_max);
    World { disk: Arc::new(faulty), memory, faults }
}

impl World {
    fn file(&self, number: usize) -> FileOnDemand {
        let created = self.disk.create(Path::new(&format!("/{number}"))).unwrap();
        created.write_all_at(format!("file {number}").as_bytes(), 0).unwrap();
        let file = FileOnDemand::held(created);
        file.release(&self.disk);
        file
    }

    fn count(&self) -> usize {
        self.memory.open_files().count()
    }

    fn opened(&self) -> u64 {
        self.faults.calls(Call::Open)
    }
}

fn content(file: &SharedFile) -> String {
    let mut bytes = vec![0; 100];
    let length = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(length);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn files_beyond_the_budget_are_closed_and_opened_again() {
    let world = world(3);
    let files: Vec<_> = (0..10).map(|number| world.file(number)).collect();
    assert_eq!(world.count(), 3);
    for round in 0..3 {
        for (number, file) in files.iter().enumerate() {
            assert_eq!(content(&file.get().unwrap()), format!("file {number}"), "round {round}");
            assert!(world.count() <= 3);
        }
    }
}

#[test]
fn a_file_that_is_read_again_and_again_is_opened_once() {
    let world = world(3);
    let files: Vec<_> = (0..10).map(|number| world.file(number)).collect();
    files[0].get().unwrap();
    let before = world.opened();
    for file in files.iter().skip(1) {
        files[0].get().unwrap();
        file.get().unwrap();
    }
    assert!(world.opened() - before <= 9, "the others alone were opened");
}

#[test]
fn a_file_stays_open_while_it_is_read() {
    let world = world(1);
    let files: Vec<_> = (0..4).map(|number| world.file(number)).collect();
    let held: Vec<_> = files.iter().map(|file| file.get().unwrap()).collect();
    assert_eq!(world.count(), 4, "all of them are being read");
    world.disk.remove_file(Path::new("/2")).unwrap();
    assert_eq!(content(&held[2]), "file 2");
    drop(held);
    files[0].get().unwrap();
    world.memory.open_files().set_max(1);
    assert_eq!(world.count(), 1);
}

#[test]
fn active_and_retired_files_are_not_closed() {
    let world = world(0);
    let written = FileOnDemand::held(world.disk.create(Path::new("/written")).unwrap());
    let retired = world.file(1);
    let reading = retired.get().unwrap();
    retired.retire();
    drop(reading);
    assert!(!world.memory.open_files().close_one());
    let before = world.opened();
    assert!(written.get().is_ok() && retired.get().is_ok());
    assert_eq!(world.opened(), before);
}

#[test]
fn a_path_that_was_given_up_is_never_opened_again() {
    let world = world(0);
    let old = world.file(1);
    old.retire();
    let new = world.disk.create(Path::new("/new")).unwrap();
    new.write_all_at(b"other", 0).unwrap();
    world.disk.rename(Path::new("/new"), Path::new("/1")).unwrap();
    assert!(old.get().err().unwrap().is_not_found());
}

#[test]
fn a_file_that_cannot_be_opened_now_can_be_later() {
    let world = world(0);
    let file = world.file(1);
    world.faults.inject(Fault::no_descriptors(Call::Open, world.opened()));
    assert!(file.get().is_err());
    assert_eq!(content(&file.get().unwrap()), "file 1");
}
