use super::*;
use crate::config::MetadataLimits;
use grower_protocol::ids::{
    LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Timestamp,
    TopicId, TopicName,
};
use grower_protocol::message::{ErrorCode, NewTopic, ProducerIdentity};
use grower_protocol::wire;
use insta::assert_snapshot;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const UUID: Uuid = Uuid::from_random([2; 16]);

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn id(number: u8) -> TopicId {
    TopicId::from_random([number; 16])
}

fn register(node: u32) -> Command {
    Command::RegisterBroker { node: NodeId::new(node), uuid: UUID, address: "localhost:9092".to_owned() }
}

fn request(topic: &str, partitions: u32) -> NewTopic {
    NewTopic { name: name(topic), partitions: Some(partitions), replication_factor: None, configs: Vec::new() }
}

/// One broker, and a topic for each name.
fn image(topics: &[&str]) -> Image {
    let mut image = Image::default();
    image.apply(register(1)).unwrap();
    for (number, topic) in (0..).zip(topics) {
        let command = image.create_topic(&request(topic, 2), id(number), AT, &MetadataLimits::default()).unwrap();
        image.apply(command).unwrap();
    }
    image
}

fn refusal(result: Result<Command, MetadataRefusal>) -> String {
    let refusal = result.unwrap_err();
    format!("{:?}: {refusal}", refusal.code())
}

#[test]
fn commands_keep_their_bytes() {
    let hex = |command: Command| wire::encode(&command).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let node = NodeId::new(1);
    assert_snapshot!(hex(Command::FormatCluster { cluster: UUID }), @"0002020202020242028202020202020202");
    assert_snapshot!(hex(Command::RegisterBroker { node, uuid: UUID, address: "a:1".to_owned() }), @"01010202020202024202820202020202020203613a31");
    let configs = vec![("flush".to_owned(), "os".to_owned())];
    let replicas = vec![vec![node], vec![node]];
    assert_snapshot!(hex(Command::CreateTopic { name: name("t"), id: id(3), replicas, configs, at: AT }), @"0201740303030303034303830303030303030302010101010105666c757368026f73fd00d0ca9f17030000");
    assert_snapshot!(hex(Command::DeleteTopic { id: id(3) }), @"0303030303030343038303030303030303");
    assert_snapshot!(hex(Command::GrowTopic { id: id(3), from: 2, added: vec![vec![node]] }), @"040303030303034303830303030303030302010101");
    let configs = vec![("flush".to_owned(), None)];
    assert_snapshot!(hex(Command::AlterTopic { id: id(3), configs }), @"05030303030303430383030303030303030105666c75736800");
    assert_snapshot!(hex(Command::AllocateProducerIds { count: 1000 }), @"06fbe803");
    assert_snapshot!(hex(Command::ForgetDeleted { ids: vec![id(3)] }), @"070103030303030343038303030303030303");
    let (partition, offset) = (PartitionId::new(1), Offset::new(300));
    assert_snapshot!(hex(Command::TrimTopic { id: id(3), before: vec![(partition, offset)] }), @"08030303030303430383030303030303030101fb2c01");
    let settings = vec![("logging.level".to_owned(), Some("debug".to_owned())), ("k".to_owned(), None)];
    assert_snapshot!(hex(Command::AlterBroker { node, settings }), @"0a01020d6c6f6767696e672e6c6576656c01056465627567016b00");
    assert_snapshot!(hex(Command::ReplaceNode { node, uuid: UUID }), @"0b0102020202020242028202020202020202");
    let (producer, leader_epoch) = (ProducerId::new(1 << 40), LeaderEpoch::new(1 << 20));
    assert_snapshot!(hex(Command::AllocateProducerIdsFrom { first: producer, count: 1000 }), @"0cfd0000000000010000fbe803");
    assert_snapshot!(hex(Command::RaiseMinimumIds { producer, leader_epoch }), @"0dfd0000000000010000fc00001000");
    let (producer, identity) = (
        ProducerName::new("p").unwrap(),
        ProducerIdentity { id: ProducerId::NAMED.start, epoch: ProducerEpoch::new(3) },
    );
    let claim = |current| Command::ClaimProducer {
        name: producer.clone(),
        holder: ProducerHolder::new(300),
        current,
        first: ProducerId::new(9),
        at: AT,
    };
    assert_snapshot!(hex(claim(None)), @"0e0170fb2c010009fd00d0ca9f17030000");
    assert_snapshot!(hex(claim(Some(identity))), @"0e0170fb2c0101fd00000000000018000309fd00d0ca9f17030000");
    assert_snapshot!(hex(Command::ForgetProducers { producers: vec![(producer, identity)] }), @"0f010170fd000000000000180003");
    assert_snapshot!(hex(Command::ForgetTrims { done: vec![(id(3), partition, offset)] }), @"09010303030303034303830303030303030301fb2c01");
}

#[test]
fn invalid_topic_names_are_refused() {
    let image = image(&["orders.eu"]);
    let create = |topic: &str| refusal(image.create_topic(&request(topic, 1), id(9), AT, &MetadataLimits::default()));
    assert_snapshot!(create("orders.eu"), @"TopicExists: topic orders.eu exists already");
    assert_snapshot!(create("orders_EU"), @"InvalidName: topic name orders_EU collides with orders.eu: they differ only in case, or in '.' and '_'");
    assert_snapshot!(create("__consumer_offsets"), @"InvalidName: topic __consumer_offsets belongs to the broker: names that start with __ cannot be created, changed or deleted");
    assert_snapshot!(refusal(image.delete_topic(&name("nowhere"))), @"UnknownTopic: there is no topic nowhere");
}

#[test]
fn invalid_partition_counts_are_refused() {
    let image = image(&["t"]);
    let limits = MetadataLimits { topics: 2, partitions: 50, partitions_per_topic: 49 };
    let create = |partitions| refusal(image.create_topic(&request("u", partitions), id(9), AT, &limits));
    assert_snapshot!(create(0), @"InvalidPartitions: a topic has 1 to 49 partitions, not 0");
    assert_snapshot!(create(1_000_000), @"InvalidPartitions: a topic has 1 to 49 partitions, not 1000000");
    assert_snapshot!(create(49), @"LimitReached: 51 partitions would be over the limit of 50");
    assert_snapshot!(refusal(image.grow_topic(&name("t"), 2, &limits)), @"InvalidPartitions: topic t has 2 partitions; it can grow, and 2 is not more");
    assert_snapshot!(refusal(image.grow_topic(&name("t"), 1, &limits)), @"InvalidPartitions: topic t has 2 partitions; it can grow, and 1 is not more");
    let none = MetadataLimits { topics: 1, ..limits };
    assert_snapshot!(refusal(image.create_topic(&request("u", 1), id(9), AT, &none)), @"LimitReached: 2 topics would be over the limit of 1");
}

#[test]
fn a_topic_cannot_have_more_replicas_than_brokers() {
    let image = image(&[]);
    let create = |factor| {
        let request = NewTopic { replication_factor: Some(factor), ..request("t", 1) };
        image.create_topic(&request, id(9), AT, &MetadataLimits::default())
    };
    assert!(create(1).is_ok());
    assert_snapshot!(refusal(create(0)), @"InvalidReplicationFactor: the replication factor must be 1 to 1, the number of brokers, not 0");
    assert_snapshot!(refusal(create(2)), @"InvalidReplicationFactor: the replication factor must be 1 to 1, the number of brokers, not 2");
}

#[test]
fn a_name_repeated_in_one_request_is_refused_each_time() {
    let requests = [request("a", 1), request("b", 1), request("a", 2)];
    let results = image(&[]).create_topics(&requests, || id(7), AT, &MetadataLimits::default());
    let codes: Vec<_> = results.iter().map(|result| result.as_ref().err().map(MetadataRefusal::code)).collect();
    assert_eq!(codes, [Some(ErrorCode::InvalidRequest), None, Some(ErrorCode::InvalidRequest)]);
}

#[test]
fn configs_are_checked_before_they_are_stored() {
    let image = image(&["t"]);
    let alter = |changes: &[(&str, Option<&str>)]| {
        let owned: Vec<_> = changes.iter().map(|(k, v)| (k.to_string(), v.map(str::to_owned))).collect();
        image.alter_topic(&name("t"), &owned)
    };
    assert!(alter(&[("flush", Some("os")), ("retention.ms", None)]).is_ok());
    assert_snapshot!(refusal(alter(&[("flush", Some("never"))])), @r#"InvalidConfig: flush="never" is not allowed: it takes fsync, or os to let acks run ahead of the disk"#);
    assert_snapshot!(refusal(alter(&[("flush", None), ("flush", Some("os"))])), @"InvalidConfig: flush is set more than once");
    assert!(alter(&[("no.such.key", None)]).is_err());
}

#[test]
fn an_altered_config_goes_back_to_its_default() {
    let mut image = image(&["t"]);
    let mut alter = |value: Option<&str>| {
        let changes = [("retention.messages".to_owned(), value.map(str::to_owned))];
        let command = image.alter_topic(&name("t"), &changes).unwrap();
        let Ok(Applied::TopicAltered(topic)) = image.apply(command) else { panic!() };
        topic.config.retention_messages
    };
    assert_eq!(alter(Some("12")), Some(12));
    assert_eq!(alter(None), None);
}

#[test]
fn growing_keeps_the_existing_partitions() {
    let mut image = image(&["t"]);
    image.apply(register(1)).unwrap();
    let command = image.grow_topic(&name("t"), 4, &MetadataLimits::default()).unwrap();
    let stale = command.clone();
    let Ok(Applied::TopicGrown { topic, from: 2 }) = image.apply(command) else { panic!() };
    let epochs: Vec<_> = topic.partitions.iter().map(|partition| partition.leader_epoch.value()).collect();
    assert_eq!(epochs, [1, 1, 1, 1], "no partition is behind what a restore raised its topic to");
    assert_eq!(image.apply(stale), Err(MetadataRefusal::PartitionCountChanged { name: name("t") }));
}

#[test]
fn a_topic_created_again_is_another_topic() {
    let mut image = image(&["t"]);
    let first = image.topic(&name("t")).unwrap().id;
    image.apply(Command::DeleteTopic { id: first }).unwrap();
    assert_eq!(image.deleted().map(|(id, topic)| (id, topic.partitions)).collect::<Vec<_>>(), [(first, 2)]);
    let again = |id| image.create_topic(&request("t", 1), id, AT, &MetadataLimits::default()).unwrap();
    let (same_id, new_id) = (again(first), again(id(200)));
    assert_eq!(image.apply(same_id), Err(MetadataRefusal::IdUsed { id: first }));
    image.apply(new_id).unwrap();
    assert_eq!(image.apply(Command::DeleteTopic { id: first }), Err(MetadataRefusal::UnknownTopicId { id: first }));
    assert!(image.topic(&name("t")).is_some());
    image.apply(Command::ForgetDeleted { ids: vec![first] }).unwrap();
    assert_eq!(image.deleted().len(), 0);
}

#[test]
fn a_start_raises_only_the_epochs_of_partitions_that_the_node_leads() {
    let mut image = image(&[]);
    image.apply(register(2)).unwrap();
    let command = image.create_topic(&request("t", 2), id(1), AT, &MetadataLimits::default()).unwrap();
    image.apply(command).unwrap();
    image.apply(register(2)).unwrap();
    let epoch = |p| image.topic(&name("t")).unwrap().partition(PartitionId::new(p)).unwrap().leader_epoch;
    assert_eq!((epoch(0), epoch(1)), (LeaderEpoch::new(0), LeaderEpoch::new(1)));
}

#[test]
fn a_node_with_a_foreign_number_is_refused() {
    let mut image = image(&[]);
    let node = NodeId::new(1);
    let other = Uuid::from_random([3; 16]);
    let refused = image.apply(Command::RegisterBroker { node, uuid: other, address: String::new() }).unwrap_err();
    assert_snapshot!(refused, @"node 1 is registered as 02020202-0202-4202-8202-020202020202, not 03030303-0303-4303-8303-030303030303: a node that lost its disk needs a new number");
}

#[test]
fn internal_topics_are_created_by_the_broker_and_never_changed_by_users() {
    let mut image = image(&[]);
    let offsets = name("__consumer_offsets");
    let command =
        image.create_any_topic(&request("__consumer_offsets", 16), id(1), AT, &MetadataLimits::default()).unwrap();
    image.apply(command).unwrap();
    assert!(matches!(image.delete_topic(&offsets), Err(MetadataRefusal::Internal { .. })));
    assert!(matches!(
        image.grow_topic(&offsets, 32, &MetadataLimits::default()),
        Err(MetadataRefusal::Internal { .. })
    ));
    assert!(matches!(image.alter_topic(&offsets, &[]), Err(MetadataRefusal::Internal { .. })));
}

#[test]
fn a_trim_is_pending_until_the_log_start_has_reached_it() {
    let mut image = image(&["t"]);
    let (topic, partition) = (image.topic(&name("t")).unwrap().id, PartitionId::new(1));
    let mut trim =
        |before| image.apply(Command::TrimTopic { id: topic, before: vec![(partition, Offset::new(before))] });
    trim(5).unwrap();
    trim(9).unwrap();
    trim(7).unwrap();
    let forget = |image: &mut Image, reached| {
        image.apply(Command::ForgetTrims { done: vec![(topic, partition, Offset::new(reached))] }).unwrap();
        image.trims().map(|(_, _, before)| before.value()).collect::<Vec<_>>()
    };
    assert_eq!(forget(&mut image, 7), [9], "a later one is still under way");
    assert_eq!(forget(&mut image, 9), []);
}

#[test]
fn a_trim_is_dropped_with_its_topic_and_names_existing_partitions() {
    let mut image = image(&["t"]);
    let topic = image.topic(&name("t")).unwrap().id;
    let trim =
        |partition| Command::TrimTopic { id: topic, before: vec![(PartitionId::new(partition), Offset::new(1))] };
    assert!(matches!(image.apply(trim(2)), Err(MetadataRefusal::UnknownPartition { .. })));
    image.apply(trim(0)).unwrap();
    image.apply(Command::DeleteTopic { id: topic }).unwrap();
    assert_eq!(image.trims().len(), 0);
    assert_eq!(image.apply(trim(0)), Err(MetadataRefusal::UnknownTopicId { id: topic }));
}
