//! The metadata on disk: commands, snapshot, identity.

use super::input_reader::{InputReader, encode_chunks};
use crate::Target;
use grower_broker::SystemClock;
use grower_broker::metadata::{Command, Image, LogMetadataStore, MetadataStore, NodeIdentity, Uuid};
use grower_protocol::ids::{
    LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Timestamp,
    TopicId, TopicName,
};
use grower_protocol::message::ProducerIdentity;
use grower_protocol::wire::{decode, encode};
use grower_storage::disk::{Disk, MemDisk};
use std::path::Path;
use std::sync::Arc;

pub(super) const COMMANDS: Target = Target {
    name: "metadata-commands",
    about: "stored commands: each is applied or refused, with the same result twice",
    run: commands,
    seeds: || vec![encode_chunks(&history().iter().map(encode).collect::<Vec<_>>())],
    allocates: 16 << 20,
};

pub(super) const SNAPSHOT: Target = Target {
    name: "metadata-snapshot",
    about: "a snapshot of the metadata: an opened one accepts commands",
    run: snapshot,
    seeds: || vec![written_snapshot()],
    allocates: 16 << 20,
};

pub(super) const IDENTITY: Target = Target {
    name: "identity",
    about: "the identity of a data directory",
    run: identity,
    seeds: || vec![written_identity()],
    allocates: 4 << 20,
};

const DIR: &str = "/data";
const UUID: Uuid = Uuid::from_random([5; 16]);
const OTHER_UUID: Uuid = Uuid::from_random([6; 16]);

fn commands(input: &[u8]) {
    let mut input = InputReader(input);
    let (mut image, mut twin) = (Image::default(), Image::default());
    while !input.is_empty() {
        let Ok(command) = decode::<Command>(input.chunk()) else { continue };
        let (applied, repeated) = (image.apply(command.clone()), twin.apply(command));
        assert_eq!(format!("{applied:?}"), format!("{repeated:?}"));
    }
}

fn snapshot(input: &[u8]) {
    let Some(mut image) = opened(input) else { return };
    for command in history() {
        let _ = image.apply(command);
    }
}

/// Opens a store with these items in a valid frame.
fn opened(input: &[u8]) -> Option<Image> {
    let mut bytes = b"GWms\0\x01\0\0".to_vec();
    bytes.extend_from_slice(&(input.len() as u32).to_be_bytes());
    bytes.extend_from_slice(input);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    let disk = Arc::new(MemDisk::default());
    write(&*disk, "metadata", "image.snapshot", &bytes);
    let store = LogMetadataStore::open(disk, Path::new(DIR), Arc::new(SystemClock)).ok()?;
    Some(Image::clone(&store.image()))
}

/// Opens an identity of this text with a correct CRC.
fn identity(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let signed = format!("{text}crc32 = \"{:08x}\"\n", crc32fast::hash(text.as_bytes()));
    let disk = MemDisk::default();
    write(&disk, "", "meta", signed.as_bytes());
    let _ = NodeIdentity::open(&disk, Path::new(DIR), NodeId::new(1), || UUID);
}

/// Every kind of command once, in an order that applies each.
fn history() -> Vec<Command> {
    let (node, id) = (NodeId::new(1), TopicId::from_bytes([3; 16]));
    let configs = vec![("flush".to_owned(), "os".to_owned())];
    let (producer, identity) = named_producer();
    vec![
        Command::FormatCluster { cluster: UUID },
        Command::RegisterBroker { node, uuid: UUID, address: "a:1".to_owned() },
        Command::CreateTopic {
            name: TopicName::new("events").expect("a sound name"),
            id,
            replicas: vec![vec![node]; 2],
            configs,
            at: Timestamp::from_millis(1),
        },
        Command::GrowTopic { id, from: 2, added: vec![vec![node]] },
        Command::AlterTopic { id, configs: vec![("flush".to_owned(), None)] },
        Command::AllocateProducerIds { count: 1_000 },
        Command::TrimTopic { id, before: [0, 2].map(|n| (PartitionId::new(n), Offset::new(7))).to_vec() },
        Command::ForgetTrims { done: vec![(id, PartitionId::new(2), Offset::new(7))] },
        Command::AlterBroker { node, settings: vec![("logging.level".to_owned(), Some("warn".to_owned()))] },
        Command::ReplaceNode { node, uuid: OTHER_UUID },
        Command::AllocateProducerIdsFrom { first: ProducerId::new(5_000), count: 1_000 },
        Command::ClaimProducer {
            name: producer.clone(),
            holder: ProducerHolder::new(7),
            current: None,
            first: identity.id,
            at: Timestamp::from_millis(1),
        },
        Command::ForgetProducers { producers: vec![(producer, identity)] },
        Command::RaiseMinimumIds { producer: ProducerId::new(9_000), leader_epoch: LeaderEpoch::new(9) },
        Command::RegisterBroker { node, uuid: OTHER_UUID, address: "a:2".to_owned() },
        Command::DeleteTopic { id },
        Command::ForgetDeleted { ids: vec![id] },
    ]
}

/// A producer's name and the identity that its first claim gets.
fn named_producer() -> (ProducerName, ProducerIdentity) {
    let identity = ProducerIdentity { id: ProducerId::NAMED.start, epoch: ProducerEpoch::new(0) };
    (ProducerName::new("shipper").expect("a sound name"), identity)
}

/// One item of each kind, encoded like the snapshot's enum.
fn written_snapshot() -> Vec<u8> {
    let (node, id, name) = (NodeId::new(1), TopicId::from_bytes([3; 16]), "events");
    let (producer, identity) = named_producer();
    let partition = (Some(node), LeaderEpoch::new(4), vec![node], vec![node]);
    let items = [
        encode(&(0u32, 0u64, Some(UUID), ProducerId::new(1))),
        encode(&(1u32, node, UUID, "a:1")),
        encode(&(2u32, name, id, Timestamp::from_millis(1), vec![partition], vec![("flush", "os")])),
        encode(&(3u32, TopicId::from_bytes([4; 16]), name, 2u32)),
        encode(&(4u32, id, PartitionId::new(0), Offset::new(7))),
        encode(&(5u32, node, "logging.level", "warn")),
        encode(&(6u32, identity.id.next(), identity.id)),
        encode(&(
            7u32,
            producer,
            identity,
            ProducerHolder::new(7),
            Timestamp::from_millis(1),
            Vec::<ProducerId>::new(),
            vec![ProducerHolder::new(6)],
        )),
    ];
    items.iter().flat_map(|item| [&(item.len() as u32).to_be_bytes()[..], item].concat()).collect()
}

fn written_identity() -> Vec<u8> {
    let disk = MemDisk::default();
    disk.create_dir_all(Path::new(DIR)).expect("memory can be written");
    NodeIdentity::open(&disk, Path::new(DIR), NodeId::new(1), || UUID).expect("a new directory is taken");
    let text = disk.map(&Path::new(DIR).join("meta")).expect("it was written");
    let text = String::from_utf8_lossy(text.as_ref()).into_owned();
    text.split("crc32").next().unwrap_or_default().as_bytes().to_vec()
}

fn write(disk: &dyn Disk, dir: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(DIR).join(dir);
    disk.create_dir_all(&dir).expect("memory can be written");
    let file = disk.create(&dir.join(name)).expect("memory can be written");
    file.write_all_at(bytes, 0).expect("memory can be written");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A new kind does not compile until it has a number here; then the history needs one, too.
    fn kind(command: &Command) -> usize {
        match command {
            Command::FormatCluster { .. } => 0,
            Command::RegisterBroker { .. } => 1,
            Command::CreateTopic { .. } => 2,
            Command::DeleteTopic { .. } => 3,
            Command::GrowTopic { .. } => 4,
            Command::AlterTopic { .. } => 5,
            Command::AllocateProducerIds { .. } => 6,
            Command::ForgetDeleted { .. } => 7,
            Command::TrimTopic { .. } => 8,
            Command::ForgetTrims { .. } => 9,
            Command::AlterBroker { .. } => 10,
            Command::ReplaceNode { .. } => 11,
            Command::AllocateProducerIdsFrom { .. } => 12,
            Command::RaiseMinimumIds { .. } => 13,
            Command::ClaimProducer { .. } => 14,
            Command::ForgetProducers { .. } => 15,
        }
    }

    #[test]
    fn the_history_has_every_kind_of_command_and_each_is_applied() {
        let kinds: BTreeSet<usize> = history().iter().map(kind).collect();
        assert_eq!(kinds, (0..16).collect());
        let mut image = Image::default();
        for command in history() {
            image.apply(command).unwrap();
        }
    }

    #[test]
    fn the_snapshot_has_an_item_of_every_kind() {
        let image = opened(&written_snapshot()).expect("the seed opens");
        assert!(image.cluster().is_some() && image.topics().len() == 1);
        assert!(image.deleted().len() == 1 && image.trims().len() == 1);
        assert_eq!((image.settings(NodeId::new(1)).len(), image.named_producer_count()), (1, 1));
    }
}
