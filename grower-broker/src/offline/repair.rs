//! Repair: accepts the loss of damaged records without another copy (`grower-cli log repair`).
//!
//! Only the loss of ranges that a check found damaged can be accepted, by name, and with an audit record (see
//! [`grower_storage::repair`]). The loss of metadata cannot: a broker that forgot topics could not tell whose files it
//! has.

pub use grower_storage::repair::{Acceptance, AcceptedLoss, Damage, RangeError};

use super::{Finding, Remedy, VerifyError, check_is_data_directory, check_is_restored, in_use, partitions, verify};
use crate::logs::begun::{self, LostPartition};
use crate::metadata::whole_file;
use crate::placement::{self, LockError, Misplaced};
use grower_protocol::ids::{Offset, TopicName};
use grower_storage::disk::{DirLock, Disk, DiskError, FileDisk};
use grower_storage::repair;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A partition by its directory's name, since its metadata may be unreadable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionName {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl std::str::FromStr for PartitionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (topic, partition) = text.split_once('/')?;
            let topic = TopicName::new(topic).ok()?.to_string();
            Some(Self { topic, partition: partition.parse().ok()? })
        };
        read().ok_or_else(|| "write it as TOPIC/PARTITION, as in events/0".to_owned())
    }
}

impl PartitionName {
    /// The partition with `file` in its directory, in the data directory `dir`, if there is one.
    pub fn of(dir: &Path, file: &Path) -> Option<Self> {
        let mut parts = file.strip_prefix(dir.join("topics")).ok()?.components();
        let topic = parts.next()?.as_os_str().to_str()?.to_owned();
        let partition = parts.next()?.as_os_str().to_str()?.parse().ok()?;
        Some(Self { topic, partition })
    }

    fn of_lost(lost: &LostPartition) -> Self {
        Self { topic: lost.name.to_string(), partition: lost.partition.value() }
    }

    fn dir(&self, dir: &Path) -> PathBuf {
        dir.join("topics").join(&self.topic).join(self.partition.to_string())
    }
}

/// A range of records whose loss is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRange {
    /// The partition.
    pub partition: PartitionName,
    /// The range, at least all of the damage. Sound records in it stay.
    pub offsets: Range<Offset>,
}

impl fmt::Display for LossRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.partition, self.offsets.start, self.offsets.end)
    }
}

impl std::str::FromStr for LossRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (partition, offsets) = text.rsplit_once(':')?;
            let (topic, partition) = partition.split_once('/')?;
            let (start, end) = offsets.split_once("..")?;
            let offset = |text: &str| Offset::try_from(text.parse::<u64>().ok()?).ok();
            let partition = PartitionName { topic: topic.to_owned(), partition: partition.parse().ok()? };
            let offsets = offset(start)?..offset(end)?;
            (offsets.start < offsets.end && !topic.is_empty()).then_some(Self { partition, offsets })
        };
        read().ok_or_else(|| "write it as TOPIC/PARTITION:START..END, as in events/0:4..9; END is exclusive".to_owned())
    }
}

/// The reason why a data directory was not repaired.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryRepairError {
    /// It cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It is misplaced.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// The partition does not exist.
    #[error("{partition} has no files in {dir}", dir = dir.display())]
    UnknownPartition {
        /// As requested.
        partition: PartitionName,
        /// The data directory.
        dir: PathBuf,
    },
    /// The partition has not lost its files.
    #[error("{partition} has not lost its files, or never had records; nothing was changed")]
    NotLost {
        /// As requested.
        partition: PartitionName,
    },
    /// A partition cannot be repaired. Partitions before it in the list may have been.
    #[error("{partition}: {source}")]
    Partition {
        /// The partition.
        partition: PartitionName,
        /// The reason.
        source: repair::AcceptLossError,
    },
}

/// The user of this process, for the audit record: by name if the environment has one, and by number.
pub fn this_user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|key| std::env::var(key).ok());
    let uid = rustix::process::getuid().as_raw();
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// The damage in a data directory, by remedy.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Records whose loss can be accepted, with their ranges.
    pub lost: Vec<(LossRange, Damage)>,
    /// Begun partitions that lost all their files.
    pub lost_partitions: Vec<PartitionName>,
    /// Damage that loses no record: indexes can be rebuilt, and a start of the broker does the rest.
    pub without_loss: Vec<Finding>,
    /// Damage to the metadata or the identity of the directory: only a backup helps.
    pub beyond_repair: Vec<Finding>,
}

/// Checks everything, and changes nothing.
pub fn survey(dir: &Path, progress: impl FnMut(u64)) -> Result<Survey, DirectoryRepairError> {
    let mut survey = Survey::default();
    for finding in verify(dir, progress)?.findings {
        survey.add(finding, dir);
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, finding: Finding, dir: &Path) {
        let partition = PartitionName::of(dir, &finding.path);
        match finding.remedy {
            Remedy::AcceptLoss => {
                let partition = partition.expect("a loss is accepted in a partition of a topic");
                let damage = finding.acceptable_loss().expect("its remedy says so");
                self.lost.push((LossRange { partition, offsets: damage.offsets.clone() }, damage));
            }
            Remedy::AcceptLostPartition => {
                self.lost_partitions.push(partition.expect("a lost partition belongs to a topic"));
            }
            Remedy::RebuildIndex | Remedy::NextStart => self.without_loss.push(finding),
            Remedy::RestoreBackup => self.beyond_repair.push(finding),
        }
    }
}

/// A stopped data directory under repair, locked against others.
pub struct DirectoryRepair {
    disk: FileDisk,
    dir: PathBuf,
    _lock: DirLock,
}

impl DirectoryRepair {
    /// Locks the directory against brokers.
    pub fn open(dir: &Path) -> Result<Self, DirectoryRepairError> {
        Self::of(dir, FileDisk::new(dir), |disk| placement::lock(disk, dir))
    }

    /// Takes the directory to look only: it may be on a read-only mount, and every repair is refused.
    pub fn open_to_look(dir: &Path) -> Result<Self, DirectoryRepairError> {
        Self::of(dir, FileDisk::read_only(dir), |disk| Ok(disk.lock_shared(dir)?))
    }

    fn of(
        dir: &Path,
        disk: FileDisk,
        lock: impl Fn(&FileDisk) -> Result<DirLock, LockError>,
    ) -> Result<Self, DirectoryRepairError> {
        check_is_data_directory(dir)?;
        let lock = lock(&disk).map_err(|error| match error {
            LockError::Misplaced(misplaced) => DirectoryRepairError::Misplaced(misplaced),
            LockError::Disk(error) => in_use(error, dir).into(),
        })?;
        check_is_restored(&disk, dir)?;
        Ok(Self { disk, dir: dir.to_owned(), _lock: lock })
    }

    /// The records whose loss [`DirectoryRepair::accept_loss`] would accept.
    pub fn would_lose(&self, ranges: &[LossRange]) -> Result<Vec<(PartitionName, Damage)>, DirectoryRepairError> {
        let mut all = Vec::new();
        for (partition, offsets) in self.by_partition(ranges)? {
            let lost = repair::would_lose(&self.disk, &partition.dir(&self.dir), &offsets);
            let lost =
                lost.map_err(|source| DirectoryRepairError::Partition { partition: partition.clone(), source })?;
            all.extend(lost.into_iter().map(|lost| (partition.clone(), lost)));
        }
        Ok(all)
    }

    /// Accepts the loss of what is damaged within the ranges: of all of them, or of none.
    pub fn accept_loss(
        &self,
        ranges: &[LossRange],
        acceptance: &Acceptance,
    ) -> Result<Vec<(PartitionName, AcceptedLoss)>, DirectoryRepairError> {
        self.would_lose(ranges)?;
        let mut all = Vec::new();
        for (partition, offsets) in self.by_partition(ranges)? {
            let cut = self.dir.join("cut");
            let lost = repair::accept_loss(&self.disk, &partition.dir(&self.dir), &cut, &offsets, acceptance);
            let lost =
                lost.map_err(|source| DirectoryRepairError::Partition { partition: partition.clone(), source })?;
            all.extend(lost.into_iter().map(|lost| (partition.clone(), lost)));
        }
        Ok(all)
    }

    /// Accepts the loss of partitions without files: they begin empty, at offset 0. Returns the files that record it.
    /// If one of them is not lost, none is accepted.
    pub fn accept_lost_partitions(
        &self,
        partitions: &[PartitionName],
        acceptance: &Acceptance,
    ) -> Result<Vec<PathBuf>, DirectoryRepairError> {
        let lost = self.find_lost(partitions)?;
        let recorded = lost.iter().map(|lost| self.record_loss(lost, acceptance)).collect::<Result<_, _>>()?;
        begun::remove_lost(&self.disk, &self.dir, &lost)?;
        Ok(recorded)
    }

    /// Whether [`DirectoryRepair::accept_lost_partitions`] would accept the loss of all of them.
    pub fn check_lost(&self, partitions: &[PartitionName]) -> Result<(), DirectoryRepairError> {
        self.find_lost(partitions).map(drop)
    }

    fn find_lost(&self, partitions: &[PartitionName]) -> Result<Vec<LostPartition>, DirectoryRepairError> {
        let lost = begun::lost_partitions(&self.disk, &self.dir)?;
        let find = |partition: &PartitionName| {
            let found = lost.iter().find(|lost| PartitionName::of_lost(lost) == *partition);
            found.cloned().ok_or_else(|| DirectoryRepairError::NotLost { partition: partition.clone() })
        };
        partitions.iter().map(find).collect()
    }

    /// The audit record: durable before the partition is removed from the list.
    fn record_loss(&self, lost: &LostPartition, acceptance: &Acceptance) -> Result<PathBuf, DirectoryRepairError> {
        let cut = self.dir.join("cut");
        self.disk.create_dir_all(&cut)?;
        let path = cut.join(format!("{}-{}.lost-partition", lost.topic, lost.partition));
        let Acceptance { by, at } = acceptance;
        let (name, at) = (PartitionName::of_lost(lost), at.as_millis());
        let text = format!("partition = \"{name}\"\ntopic_id = \"{}\"\nat_ms = {at}\nby = {by:?}\n", lost.topic);
        whole_file::replace(&self.disk, &path, text.as_bytes())?;
        Ok(path)
    }

    /// Rebuilds damaged and missing indexes of sound segments, and returns them.
    pub fn rebuild_indexes(&self) -> Result<Vec<PathBuf>, DirectoryRepairError> {
        let mut made = Vec::new();
        for dir in partitions(&self.disk, &self.dir).map_err(VerifyError::from)? {
            let Some(partition) = PartitionName::of(&self.dir, &dir) else { continue };
            let rebuilt = repair::rebuild_indexes(&self.disk, &dir);
            made.extend(rebuilt.map_err(|source| DirectoryRepairError::Partition { partition, source })?);
        }
        Ok(made)
    }

    fn by_partition(
        &self,
        ranges: &[LossRange],
    ) -> Result<BTreeMap<PartitionName, Vec<Range<Offset>>>, DirectoryRepairError> {
        let mut sorted: BTreeMap<PartitionName, Vec<Range<Offset>>> = BTreeMap::new();
        for LossRange { partition, offsets } in ranges {
            // The name becomes a path: it must not lead elsewhere.
            let known = TopicName::new(&partition.topic).is_ok() && partition.dir(&self.dir).is_dir();
            if !known {
                return Err(DirectoryRepairError::UnknownPartition {
                    partition: partition.clone(),
                    dir: self.dir.clone(),
                });
            }
            sorted.entry(partition.clone()).or_default().push(offsets.clone());
        }
        Ok(sorted)
    }
}

impl From<DiskError> for DirectoryRepairError {
    fn from(error: DiskError) -> Self {
        Self::Verify(error.into())
    }
}
