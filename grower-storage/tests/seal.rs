//! Sealed files are never written again: a second name for them is a backup.

mod log_kit;

use grower_storage::backup_files::{BackupFile, files_of_closed_log};
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{Log, LogFiles};
use grower_storage::verify::verify;
use log_kit::{DIR, World};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BACKUP: &str = "/backup";

/// Gives every piece another name, as a backup does.
fn link(disk: &MemDisk, backup_files: &[BackupFile]) {
    disk.create_dir_all(Path::new(BACKUP)).unwrap();
    for backup_file in backup_files {
        assert_eq!(backup_file.copy, None);
        disk.link(&Path::new(DIR).join(&backup_file.name), &Path::new(BACKUP).join(&backup_file.name)).unwrap();
    }
}

fn contents(disk: &MemDisk, dir: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let within = disk.files().into_iter().filter(|path| path.starts_with(dir));
    within.map(|path| (path.clone(), disk.map(&path).unwrap().as_ref().to_vec())).collect()
}

#[test]
fn no_later_change_of_a_log_touches_a_sealed_file() {
    for change in 0..5 {
        let mut world = World::new(log_kit::options());
        (0..7).for_each(|n| assert!(world.append(1 + n % 2, 20).is_ok()));
        let end = world.log.span().end.value();
        link(&world.memory, &world.log.seal(Default::default()).unwrap());
        let before = contents(&world.memory, BACKUP);
        match change {
            0 => (0..9).for_each(|_| assert!(world.append(1, 30).is_ok())),
            1 => world.truncate(end).unwrap(),
            2 => world.truncate(4).unwrap(),
            3 => world.truncate(1).unwrap(),
            _ => world.trim(8).unwrap(),
        }
        (0..3).for_each(|_| assert!(world.append(1, 30).is_ok()));
        world.flush();
        world.check();
        world.kill();
        world.append(1, 30).unwrap();
        world.check();
        assert_eq!(contents(&world.memory, BACKUP), before, "change {change}");
    }
}

#[test]
fn the_sealed_files_alone_are_the_whole_log() {
    let mut world = World::new(log_kit::options());
    (0..7).for_each(|n| assert!(world.append(1 + n % 2, 20).is_ok()));
    let end = world.log.span().end;
    link(&world.memory, &world.log.seal(Default::default()).unwrap());
    world.log.seal(Default::default()).unwrap();
    let verified = verify(&world.memory, Path::new(BACKUP), |_| {}).unwrap();
    assert_eq!((verified.findings, verified.offsets.map(|offsets| offsets.end)), (vec![], Some(end)));
    let disk: Arc<dyn Disk> = Arc::new(world.memory.clone());
    disk.remove_dir_all(Path::new(DIR)).unwrap();
    disk.rename(Path::new(BACKUP), Path::new(DIR)).unwrap();
    world.kill();
    world.check();
    world.append(1, 30).unwrap();
    world.check();
    world.check_retries();
}

#[test]
fn only_the_sound_part_of_a_closed_logs_last_segment_is_to_be_copied() {
    let mut world = World::new(log_kit::options());
    (0..7).for_each(|n| assert!(world.append(1 + n % 2, 20).is_ok()));
    world.flush();
    let logs = |backup_files: Vec<BackupFile>| {
        backup_files
            .into_iter()
            .filter(|backup_file| backup_file.name.ends_with("log"))
            .map(|backup_file| backup_file.copy)
            .collect::<Vec<_>>()
    };
    let whole = logs(files_of_closed_log(&world.memory, Path::new(DIR)).unwrap().unwrap());
    let last = world.log.reader().segments().last().unwrap().clone();
    assert_eq!(whole, [None, None, Some(last.bytes)]);
    world.memory.edit(&Path::new(DIR).join(&last.file), |bytes| bytes.extend_from_slice(b"torn")).unwrap();
    assert_eq!(logs(files_of_closed_log(&world.memory, Path::new(DIR)).unwrap().unwrap()), whole);
    assert_eq!(files_of_closed_log(&world.memory, Path::new("/nowhere")).unwrap(), Some(vec![]));
}
