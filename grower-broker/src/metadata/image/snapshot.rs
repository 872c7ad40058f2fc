//! The encoding of an image as a snapshot, which replaces old commands.
//!
//! ```text
//! 0 "GWms" | 4 version u16 | 6 zero u16 | 8 length of the items u32 | 12 items .. | crc32 of all before it u32
//! item: length u32, and that many bytes of one encoded [`SnapshotItem`]
//! ```
//!
//! Numbers are big-endian. Items are positional: a released variant never changes, a change is a new variant at the
//! end.

use super::{BrokerRegistration, DeletedTopic, Image, NamedProducer, PartitionRegistration, Topic};
use crate::config::topic::TopicConfig;
use crate::metadata::Uuid;
use grower_protocol::ids::{
    LeaderEpoch, NodeId, Offset, PartitionId, ProducerHolder, ProducerId, ProducerName, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::ProducerIdentity;
use grower_protocol::wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const KIND: &[u8; 4] = b"GWms";
const VERSION: u16 = 1;
const HEAD_LENGTH: usize = 12;
const CRC_LENGTH: usize = 4;

/// The reason why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot is damaged.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A newer version wrote it.
    #[error("it has format {found}, this program knows up to {VERSION}: use a newer Grower")]
    Newer {
        /// Its format.
        found: u16,
    },
}

#[derive(Serialize, Deserialize)]
enum SnapshotItem {
    Cluster {
        version: u64,
        cluster: Option<Uuid>,
        next_producer: ProducerId,
    },
    Broker {
        node: NodeId,
        uuid: Uuid,
        address: String,
    },
    Topic {
        name: TopicName,
        id: TopicId,
        created: Timestamp,
        partitions: Vec<StoredPartition>,
        configs: Vec<(String, String)>,
    },
    Deleted {
        id: TopicId,
        name: TopicName,
        partitions: u32,
    },
    Trim {
        topic: TopicId,
        partition: PartitionId,
        before: Offset,
    },
    Setting {
        node: NodeId,
        key: String,
        value: String,
    },
    NamedIds {
        next: ProducerId,
        minimum: ProducerId,
    },
    NamedProducer {
        name: ProducerName,
        identity: ProducerIdentity,
        holder: ProducerHolder,
        claimed: Timestamp,
        former: Vec<ProducerId>,
        former_holders: Vec<ProducerHolder>,
    },
}

/// A partition, as stored.
#[derive(Serialize, Deserialize)]
struct StoredPartition {
    leader: Option<NodeId>,
    leader_epoch: LeaderEpoch,
    replicas: Vec<NodeId>,
    in_sync: Vec<NodeId>,
}

pub(in crate::metadata) fn encode(image: &Image) -> Vec<u8> {
    let mut items = Vec::new();
    for item in items_of(image) {
        let item = wire::encode(&item);
        items.extend_from_slice(&(item.len() as u32).to_be_bytes()); // An item is below 16 MiB.
        items.extend_from_slice(&item);
    }
    let mut bytes = KIND.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&u32::try_from(items.len()).expect("metadata is far below 4 GiB").to_be_bytes());
    bytes.extend_from_slice(&items);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn items_of(image: &Image) -> impl Iterator<Item = SnapshotItem> {
    let (version, cluster, next_producer) = (image.version, image.cluster, image.next_producer);
    let brokers = image.brokers.values().cloned();
    let brokers =
        brokers.map(|BrokerRegistration { node, uuid, address }| SnapshotItem::Broker { node, uuid, address });
    let topics = image.topics().map(|topic| SnapshotItem::Topic {
        name: topic.name.clone(),
        id: topic.id,
        created: topic.created,
        partitions: topic.partitions.iter().cloned().map(StoredPartition::from).collect(),
        configs: topic.configs.clone().into_iter().collect(),
    });
    let deleted = image.deleted.iter().map(|(id, topic)| SnapshotItem::Deleted {
        id: *id,
        name: topic.name.clone(),
        partitions: topic.partitions,
    });
    let trims = image.trims().map(|(topic, partition, before)| SnapshotItem::Trim { topic, partition, before });
    let settings = image.settings.iter().flat_map(|(node, settings)| settings.iter().map(move |set| (*node, set)));
    let settings =
        settings.map(|(node, (key, value))| SnapshotItem::Setting { node, key: key.clone(), value: value.clone() });
    let cluster = std::iter::once(SnapshotItem::Cluster { version, cluster, next_producer });
    let ids = image.producers.id_limits().into_iter();
    let ids = ids.map(|(next, minimum)| SnapshotItem::NamedIds { next, minimum });
    let producers = image.named_producers_after(None).map(|producer| {
        let NamedProducer { name, identity, holder, claimed, former, former_holders } = NamedProducer::clone(producer);
        SnapshotItem::NamedProducer { name, identity, holder, claimed, former, former_holders }
    });
    let rest = deleted.chain(trims).chain(settings).chain(ids).chain(producers);
    cluster.chain(brokers).chain(topics).chain(rest)
}

pub(in crate::metadata) fn decode(bytes: &[u8]) -> Result<Image, SnapshotError> {
    let mut rest = items(bytes)?;
    let mut image = Image::default();
    while !rest.is_empty() {
        let item = take_item(&mut rest).ok_or(SnapshotError::Damaged("an item cannot be read"))?;
        image.put(item)?;
    }
    Ok(image)
}

/// Checks the frame and returns the items in it.
fn items(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let damaged = |what| move || SnapshotError::Damaged(what);
    let head = bytes.first_chunk::<HEAD_LENGTH>().ok_or_else(damaged("too short"))?;
    let [k0, k1, k2, k3, v0, v1, z0, z1, length @ ..] = *head;
    let end = HEAD_LENGTH.saturating_add(u32::from_be_bytes(length) as usize);
    let whole = bytes.len() == end.saturating_add(CRC_LENGTH);
    let (signed, crc) = bytes.split_at_checked(end).filter(|_| whole).ok_or_else(damaged("its length is wrong"))?;
    if crc != crc32fast::hash(signed).to_be_bytes() {
        return Err(SnapshotError::Damaged("wrong crc"));
    }
    if [k0, k1, k2, k3] != *KIND || [z0, z1] != [0; 2] {
        return Err(SnapshotError::Damaged("not a snapshot"));
    }
    let found = u16::from_be_bytes([v0, v1]);
    if found != VERSION {
        return Err(SnapshotError::Newer { found });
    }
    signed.get(HEAD_LENGTH..).ok_or_else(damaged("too short"))
}

fn take_item(rest: &mut &[u8]) -> Option<SnapshotItem> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (item, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    wire::decode(item).ok()
}

impl Image {
    fn put(&mut self, item: SnapshotItem) -> Result<(), SnapshotError> {
        match item {
            SnapshotItem::Cluster { version, cluster, next_producer } => {
                (self.version, self.cluster, self.next_producer) = (version, cluster, next_producer);
            }
            SnapshotItem::Broker { node, uuid, address } => {
                drop(self.brokers.insert(node, BrokerRegistration { node, uuid, address }))
            }
            SnapshotItem::Topic { name, id, .. } if !self.topics.are_free(&name, id) => {
                return Err(SnapshotError::Damaged("two topics have one name or one id"));
            }
            SnapshotItem::Topic { name, id, created, partitions, configs } => {
                let configs: BTreeMap<_, _> = configs.into_iter().collect();
                let config = TopicConfig::from_stored(&configs);
                let partitions = partitions.into_iter().map(PartitionRegistration::from).collect();
                self.topics.insert(Arc::new(Topic { name, id, created, partitions, configs, config }));
            }
            SnapshotItem::Deleted { id, name, partitions } => {
                drop(self.deleted.insert(id, DeletedTopic { name, partitions }))
            }
            SnapshotItem::Setting { node, key, value } => {
                drop(self.settings.entry(node).or_default().insert(key, value))
            }
            SnapshotItem::NamedIds { next, minimum } => self.producers.raise_id_limits(next, minimum),
            SnapshotItem::NamedProducer { name, identity, holder, claimed, former, former_holders } => {
                if !self.producers.restore(NamedProducer { name, identity, holder, claimed, former, former_holders }) {
                    return Err(SnapshotError::Damaged("two producers have one name or one id"));
                }
            }
            SnapshotItem::Trim { topic, partition, before } => drop(self.trims.insert((topic, partition), before)),
        }
        Ok(())
    }
}

impl From<PartitionRegistration> for StoredPartition {
    fn from(PartitionRegistration { leader, leader_epoch, replicas, in_sync }: PartitionRegistration) -> Self {
        Self { leader, leader_epoch, replicas, in_sync }
    }
}

impl From<StoredPartition> for PartitionRegistration {
    fn from(StoredPartition { leader, leader_epoch, replicas, in_sync }: StoredPartition) -> Self {
        Self { leader, leader_epoch, replicas, in_sync }
    }
}
