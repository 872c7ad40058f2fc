//! Creates, changes and describes topics.

use super::{Answered, Api};
use crate::metadata::{Command, Image, Topic};
use crate::partition::Partition;
use crate::random::random_bytes;
use crate::topic::Decide;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    BrokerAddress, ErrorCode, Failure, Metadata, MetadataAnswer, NewTopic, Part, PartitionDescription, Response,
    SegmentDescription, TopicDescription,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Api {
    pub(super) async fn metadata(self: Arc<Self>, request: Metadata) -> Answered {
        if request.create_missing && self.state.settings.now().broker.auto_create_topics {
            self.create_missing(&request).await?;
        }
        let image = self.state.topics.image();
        let topics = match request.topics {
            None => image.topics().map(|topic| Ok(topic.metadata())).collect(),
            Some(names) => names
                .iter()
                .map(|name| image.topic(name).map(|topic| topic.metadata()).ok_or_else(|| unknown(name)))
                .collect(),
        };
        let brokers = vec![BrokerAddress { node: self.state.node.id, address: self.state.node.address.clone() }];
        Ok(Response::Metadata(MetadataAnswer { brokers, topics }))
    }

    async fn create_missing(&self, request: &Metadata) -> Result<(), Failure> {
        let image = self.state.topics.image();
        let missing: BTreeSet<&TopicName> =
            request.topics.iter().flatten().filter(|name| image.topic(name).is_none()).collect();
        let new_topic = |name: &&TopicName| {
            let name = TopicName::clone(name);
            NewTopic { name, partitions: None, replication_factor: None, configs: Vec::new() }
        };
        let created = self.create_all(missing.iter().map(new_topic).collect()).await;
        for (name, created) in missing.into_iter().zip(created) {
            match created {
                Err(failure) if failure.code != ErrorCode::TopicExists => return Err(failure),
                _ => tracing::info!(topic = %name, "topic created on first use"),
            }
        }
        Ok(())
    }

    pub(super) async fn create_topics(self: Arc<Self>, new_topics: Vec<NewTopic>) -> Answered {
        let mut times = BTreeMap::new();
        for new_topic in &new_topics {
            *times.entry(new_topic.name.clone()).or_insert(0u32) += 1;
        }
        let named_once = |new_topic: &NewTopic| times.get(&new_topic.name) == Some(&1);
        let (once, twice): (Vec<NewTopic>, Vec<NewTopic>) = new_topics.iter().cloned().partition(named_once);
        let refused = twice.iter().map(|new_topic| Err(named_twice(&new_topic.name))).collect::<Vec<Part<TopicId>>>();
        let (mut created, mut refused) = (self.create_all(once).await.into_iter(), refused.into_iter());
        let mut answer = |new_topic: &NewTopic| {
            let outcome = if named_once(new_topic) { created.next() } else { refused.next() };
            outcome.expect("each topic has an outcome")
        };
        Ok(Response::CreateTopics(new_topics.iter().map(&mut answer).collect()))
    }

    /// Creates topics of different names, each with an outcome of its own.
    async fn create_all(&self, new_topics: Vec<NewTopic>) -> Vec<Part<TopicId>> {
        let (now, limits) = (self.state.clock.wall(), self.state.settings.now().broker.limits);
        let (mut ids, mut decisions) = (Vec::with_capacity(new_topics.len()), Vec::with_capacity(new_topics.len()));
        for new_topic in new_topics {
            let (id, groups) = (TopicId::from_random(random_bytes()), self.state.groups.clone());
            let decide = move |image: &Image| -> Result<Command, Failure> {
                let command = image.create_topic(&new_topic, id, now, &limits)?;
                groups.check_topic(image, &new_topic.name, new_topic.partitions.unwrap_or(1))?;
                Ok(command)
            };
            ids.push(id);
            decisions.push(Box::new(decide) as Decide);
        }
        let changed = self.state.topics.change_all(decisions).await;
        ids.into_iter().zip(changed).map(|(id, changed)| changed.map(|_| id)).collect()
    }

    pub(super) async fn delete_topic(self: Arc<Self>, name: TopicName) -> Answered {
        let known = self.state.topics.image().topic(&name).map(|topic| topic.id);
        let deleted = self.state.topics.change(move |image| Ok(image.delete_topic(&name)?)).await;
        // Also if its files could not be moved yet: the topic does not exist any more.
        if let Some(topic) = known.filter(|topic| self.state.topics.image().topic_by_id(*topic).is_none()) {
            self.state.groups.delete_offsets_of(topic).await;
            self.state.topics.request_retention(); // Its files go now, not in half a minute.
        }
        deleted.map(|_| Response::Done)
    }

    pub(super) async fn grow_topic(self: Arc<Self>, name: TopicName, partitions: u32) -> Answered {
        let limits = self.state.settings.now().broker.limits;
        let groups = self.state.groups.clone();
        let decide = move |image: &Image| -> Result<Command, Failure> {
            let command = image.grow_topic(&name, partitions, &limits)?;
            groups.check_topic(image, &name, partitions)?;
            Ok(command)
        };
        self.state.topics.change(decide).await?;
        Ok(Response::Done)
    }

    pub(super) async fn alter_topic(
        self: Arc<Self>,
        name: TopicName,
        configs: Vec<(String, Option<String>)>,
    ) -> Answered {
        self.state.topics.change(move |image| Ok(image.alter_topic(&name, &configs)?)).await?;
        Ok(Response::Done)
    }

    pub(super) async fn describe_topics(self: Arc<Self>, names: Option<Vec<TopicName>>, segments: bool) -> Answered {
        let image = self.state.topics.image();
        if segments {
            self.check_segments(&image, names.as_deref())?;
        }
        let describe = |topic: &Arc<Topic>| self.describe(topic, segments);
        let described = match names {
            None => image.topics().filter(|topic| !topic.name.is_internal()).map(|topic| Ok(describe(topic))).collect(),
            Some(names) => {
                names.iter().map(|name| image.topic(name).map(describe).ok_or_else(|| unknown(name))).collect()
            }
        };
        Ok(Response::DescribeTopics(described))
    }

    fn describe(&self, topic: &Topic, segments: bool) -> TopicDescription {
        let described = topic.numbered().map(|(number, metadata)| {
            let replicas = metadata.replicas.clone();
            match self.state.topics.partition(topic.id, number) {
                Ok(partition) => PartitionDescription {
                    leader: metadata.leader,
                    replicas,
                    in_sync: metadata.in_sync.clone(),
                    ..describe_partition(&partition, number, segments)
                },
                Err(_) => PartitionDescription { replicas, ..nothing_known(number, metadata.leader_epoch) },
            }
        });
        TopicDescription {
            name: topic.name.clone(),
            id: topic.id,
            replication_factor: topic.replication_factor(),
            configs: topic.describe_configs(),
            partitions: described.collect(),
        }
    }
}

/// The description of an offline partition, which has no leader.
fn nothing_known(partition: PartitionId, leader_epoch: LeaderEpoch) -> PartitionDescription {
    PartitionDescription {
        partition,
        leader: None,
        leader_epoch,
        replicas: Vec::new(),
        in_sync: Vec::new(),
        log_start: Offset::ZERO,
        high_watermark: Offset::ZERO,
        log_end: Offset::ZERO,
        bytes: 0,
        damaged: Vec::new(),
        segments: Vec::new(),
    }
}

/// The facts that the log itself knows.
fn describe_partition(partition: &Partition, number: PartitionId, with_segments: bool) -> PartitionDescription {
    let span = partition.span();
    let segments: Vec<SegmentDescription> = partition.reader().segments().into_iter().map(describe_segment).collect();
    PartitionDescription {
        partition: number,
        leader: None,
        leader_epoch: span.epoch,
        replicas: Vec::new(),
        in_sync: Vec::new(),
        log_start: span.log_start,
        high_watermark: span.high_watermark,
        log_end: span.log_end,
        bytes: segments.iter().map(|segment| segment.log_bytes + segment.index_bytes).sum(),
        damaged: partition.reader().damaged().into_iter().map(|range| (range.start, range.end)).collect(),
        segments: if with_segments { segments } else { Vec::new() },
    }
}

pub(super) fn describe_segment(info: grower_storage::log::SegmentInfo) -> SegmentDescription {
    SegmentDescription {
        log_file: info.file,
        index_file: info.index_file,
        base_offset: info.base_offset,
        end_offset: info.end_offset,
        log_bytes: info.bytes,
        index_bytes: info.index_bytes,
        max_timestamp: info.max_timestamp,
    }
}

pub(super) fn unknown(name: &TopicName) -> Failure {
    Failure::new(
        ErrorCode::UnknownTopic,
        format_args!("there is no topic {name}; create it with: grower-cli topic create {name}"),
    )
}

fn named_twice(name: &TopicName) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, format_args!("the request names topic {name} more than once"))
}
