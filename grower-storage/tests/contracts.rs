//! Both logs keep the same contract, on every disk and with every index.

use grower_index::DenseIndex;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId};
use grower_storage::contract;
use grower_storage::disk::{Disk, FileDisk, MemDisk};
use grower_storage::log::{DiskLog, IndexFactory, Log, LogLocation, LogOptions, MemLog};
use std::path::Path;
use std::sync::Arc;

fn open(disk: &Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Box<dyn Log> {
    let place = LogLocation {
        dir: dir.to_owned(),
        topic_id: TopicId::from_random([1; 16]),
        partition: PartitionId::new(0),
        cut_dir: None,
    };
    let (log, report) = DiskLog::open(disk.clone(), place, options, Timestamp::default()).unwrap();
    assert!(report.is_empty());
    Box::new(log)
}

#[test]
fn the_log_in_memory_keeps_the_contract() {
    contract::log(|options| Box::new(MemLog::new(options)));
}

#[test]
fn the_log_in_files_keeps_the_contract_on_a_disk_in_memory() {
    contract::log(|options| open(&(Arc::new(MemDisk::default()) as _), Path::new("/topics/t/0"), options));
}

#[test]
fn the_log_in_files_keeps_the_contract_on_real_files() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(directory.path()));
    let mut count = 0;
    contract::log(|options| {
        count += 1;
        open(&disk, &directory.path().join(count.to_string()), LogOptions { preallocate_bytes: 4096, ..options })
    });
}

#[test]
fn the_log_in_files_keeps_the_contract_with_a_dense_index() {
    let dense = IndexFactory::new(|seed| Box::new(DenseIndex::new(seed)));
    contract::log(|options| {
        let options = LogOptions { index: dense.clone(), ..options };
        open(&(Arc::new(MemDisk::default()) as _), Path::new("/topics/t/0"), options)
    });
}
