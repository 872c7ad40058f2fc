//! The data directory at the start of a broker: locked, with its identity and its metadata.

use super::StartError;
use crate::backup;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::fail_stop_disk::FailStopDisk;
use crate::health::Health;
use crate::metadata::{LogMetadataStore, MetadataStore, NodeIdentity, Uuid};
use crate::placement::{self, LockError};
use crate::random::random_bytes;
use crate::reserve_file::ReserveFile;
use grower_protocol::ids::NodeId;
use grower_storage::disk::{DirLock, Disk};
use std::io::ErrorKind;
use std::sync::Arc;

/// An open data directory.
pub(super) struct DataDirectory {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) reserve: Arc<ReserveFile>,
    pub(super) lock: DirLock,
    pub(super) identity: NodeIdentity,
    pub(super) metadata: Arc<dyn MetadataStore>,
}

impl DataDirectory {
    /// Opens the directory of `config` on `disk`. Metadata that is not given is read from the directory.
    pub(super) fn open(
        config: &BrokerConfig,
        disk: Arc<dyn Disk>,
        metadata: Option<Arc<dyn MetadataStore>>,
        clock: &Arc<dyn Clock>,
        health: &Health,
    ) -> Result<Self, StartError> {
        let dir = &config.data_dir;
        let reserve = Arc::new(ReserveFile::new(disk.clone(), dir));
        let disk: Arc<dyn Disk> = Arc::new(FailStopDisk::new(disk, health.clone(), reserve.clone()));
        let lock = lock(&*disk, config)?;
        if backup::is_cut_short(&*disk, dir)? {
            return Err(StartError::CutShortRestore { dir: dir.clone() });
        }
        backup::remove_links(&*disk, dir)?;
        let identity = NodeIdentity::open(&*disk, dir, NodeId::new(config.node_id), random_uuid)?;
        let metadata = match metadata {
            Some(metadata) => metadata,
            None => Arc::new(LogMetadataStore::open(disk.clone(), dir, clock.clone())?),
        };
        identity.check(dir, &metadata.image())?;
        Ok(Self { disk, reserve, lock, identity, metadata })
    }
}

fn random_uuid() -> Uuid {
    Uuid::from_random(random_bytes())
}

fn lock(disk: &dyn Disk, config: &BrokerConfig) -> Result<DirLock, StartError> {
    let source = match placement::create_and_lock(disk, &config.data_dir) {
        Ok(lock) => return Ok(lock),
        Err(LockError::Misplaced(misplaced)) => return Err(misplaced.into()),
        Err(LockError::Disk(source)) => source,
    };
    Err(match source.kind() {
        ErrorKind::ReadOnlyFilesystem => StartError::ReadOnly { dir: config.data_dir.clone(), source },
        ErrorKind::WouldBlock => StartError::Locked { dir: config.data_dir.display().to_string(), source },
        _ => source.into(),
    })
}
