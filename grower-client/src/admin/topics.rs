//! Topics: create, delete, grow, alter, trim, describe.

use super::{Admin, TopicSpec};
use crate::deadline::Deadline;
use crate::error::{AdminError, RequestError};
use grower_protocol::ids::{Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::{AcceptedLossDescription, ErrorCode, Metadata, Request, Response, TopicDescription};

/// The most topics described in one answer.
const DESCRIBED: usize = 500;
/// The most topics described in one answer with their segments.
const DESCRIBED_WITH_SEGMENTS: usize = 16;

impl Admin {
    /// Creates a topic. When this returns, the topic is durable and accepts records.
    pub async fn create_topic(&self, name: impl AsRef<str>, spec: TopicSpec) -> Result<TopicId, AdminError> {
        let mut results = self.create_topics([(name, spec)]).await?;
        results.pop().unwrap_or_else(|| Err(unexpected("create topics")))
    }

    /// Creates topics. Each succeeds or fails alone; the results have the order of `topics`.
    pub async fn create_topics(
        &self,
        topics: impl IntoIterator<Item = (impl AsRef<str>, TopicSpec)>,
    ) -> Result<Vec<Result<TopicId, AdminError>>, AdminError> {
        let named = |(name, spec): (_, TopicSpec)| Ok(spec.named(TopicName::new(AsRef::<str>::as_ref(&name))?));
        let topics = topics.into_iter().map(named).collect::<Result<Vec<_>, AdminError>>()?;
        let asked = topics.len();
        match self.cluster.ask(&Request::CreateTopics { topics }, self.cluster.deadline()).await? {
            (_, Response::CreateTopics(parts)) if parts.len() == asked => {
                Ok(parts.into_iter().map(|part| part.map_err(AdminError::from)).collect())
            }
            (connection, other) => Err(connection.unexpected("create topics", other).into()),
        }
    }

    /// Deletes a topic and all its records permanently.
    pub async fn delete_topic(&self, name: impl AsRef<str>) -> Result<(), AdminError> {
        self.change("delete topic", Request::DeleteTopic(TopicName::new(name.as_ref())?)).await
    }

    /// Raises the number of partitions to `partitions`. Keys then hash to other partitions: old and new records of one
    /// key may be in different partitions.
    pub async fn grow_topic(&self, name: impl AsRef<str>, partitions: u32) -> Result<(), AdminError> {
        let topic = TopicName::new(name.as_ref())?;
        self.change("grow topic", Request::GrowTopic { topic, partitions }).await
    }

    /// Changes configs by their dotted keys; `None` restores the default.
    pub async fn alter_topic(
        &self,
        name: impl AsRef<str>,
        configs: impl IntoIterator<Item = (impl Into<String>, Option<String>)>,
    ) -> Result<(), AdminError> {
        let topic = TopicName::new(name.as_ref())?;
        let configs = configs.into_iter().map(|(key, value)| (key.into(), value)).collect();
        self.change("alter topic", Request::AlterTopic { topic, configs }).await
    }

    /// Deletes all records before an offset, for each given partition, permanently. The offset must not exceed the high
    /// watermark. If one partition is refused, none is trimmed. When this returns, the records never reappear.
    pub async fn trim_topic(
        &self,
        name: impl AsRef<str>,
        before: impl IntoIterator<Item = (impl Into<PartitionId>, Offset)>,
    ) -> Result<(), AdminError> {
        let topic = TopicName::new(name.as_ref())?;
        let before = before.into_iter().map(|(partition, offset)| (partition.into(), offset)).collect();
        self.change("trim topic", Request::TrimTopic { topic, before }).await
    }

    /// Describes a topic: its configs, its partitions with their offsets and, if `segments` is set, their segments.
    pub async fn describe_topic(&self, name: impl AsRef<str>, segments: bool) -> Result<TopicDescription, AdminError> {
        let named = [TopicName::new(name.as_ref())?];
        let mut described = self.describe_named(&named, segments, self.cluster.deadline()).await?;
        described.pop().unwrap_or_else(|| Err(unexpected("describe topics")))
    }

    /// Lists the accepted losses of a topic (`grower-cli log repair --accept-loss`), by partition.
    pub async fn list_losses(&self, name: impl AsRef<str>) -> Result<Vec<AcceptedLossDescription>, AdminError> {
        let request = Request::ListLosses(TopicName::new(name.as_ref())?);
        match self.cluster.ask_retrying(&request, self.cluster.deadline()).await? {
            (_, Response::ListLosses(losses)) => Ok(losses),
            (connection, other) => Err(connection.unexpected("list losses", other).into()),
        }
    }

    /// Describes the given topics in their order, or all topics that are not internal, sorted by name.
    pub async fn describe_topics(
        &self,
        names: Option<Vec<TopicName>>,
        segments: bool,
    ) -> Result<Vec<Result<TopicDescription, AdminError>>, AdminError> {
        let deadline = self.cluster.deadline();
        if let Some(names) = names {
            return self.describe_named(&names, segments, deadline).await;
        }
        let mut described = self.describe_named(&self.topic_names(deadline).await?, segments, deadline).await?;
        let deleted_since = |error: &AdminError| error.code() == Some(ErrorCode::UnknownTopic);
        described.retain(|topic| !topic.as_ref().is_err_and(deleted_since));
        Ok(described)
    }

    /// Lists all topics that are not internal, sorted by name.
    async fn topic_names(&self, deadline: Deadline) -> Result<Vec<TopicName>, AdminError> {
        match self.cluster.ask_retrying(&Request::Metadata(Metadata::default()), deadline).await? {
            (_, Response::Metadata(metadata)) => {
                let names = metadata.topics.into_iter().flatten().map(|topic| topic.name);
                Ok(names.filter(|name| !name.is_internal()).collect())
            }
            (connection, other) => Err(connection.unexpected("metadata", other).into()),
        }
    }

    /// Describes topics in chunks, since one answer cannot hold all topics of a large cluster.
    async fn describe_named(
        &self,
        names: &[TopicName],
        segments: bool,
        deadline: Deadline,
    ) -> Result<Vec<Result<TopicDescription, AdminError>>, AdminError> {
        let mut described = Vec::with_capacity(names.len());
        for some in names.chunks(if segments { DESCRIBED_WITH_SEGMENTS } else { DESCRIBED }) {
            match self.describe_some(some, segments, deadline).await {
                Err(error) if segments && error.code() == Some(ErrorCode::LimitReached) => {
                    let without = self.describe_some(some, false, deadline).await?;
                    for topic in without {
                        described.push(match topic {
                            Ok(topic) => self.with_segments(topic, deadline).await,
                            refused => refused,
                        });
                    }
                }
                some => described.extend(some?),
            }
        }
        Ok(described)
    }

    async fn describe_some(
        &self,
        names: &[TopicName],
        segments: bool,
        deadline: Deadline,
    ) -> Result<Vec<Result<TopicDescription, AdminError>>, AdminError> {
        let request = Request::DescribeTopics { topics: Some(names.to_vec()), segments };
        let asked = names.len();
        match self.cluster.ask_retrying(&request, deadline).await? {
            (_, Response::DescribeTopics(parts)) if parts.len() == asked => {
                Ok(parts.into_iter().map(|part| part.map_err(AdminError::from)).collect())
            }
            (connection, other) => Err(connection.unexpected("describe topics", other).into()),
        }
    }

    /// Adds the segments of a topic with too many for one answer, page by page.
    async fn with_segments(
        &self,
        mut described: TopicDescription,
        deadline: Deadline,
    ) -> Result<TopicDescription, AdminError> {
        let mut from = None;
        loop {
            let request = Request::ListSegments { topic: described.name.clone(), from };
            let page = match self.cluster.ask_retrying(&request, deadline).await? {
                (_, Response::ListSegments(page)) => page,
                (connection, other) => return Err(connection.unexpected("list segments", other).into()),
            };
            for (number, segment) in page.segments {
                let partition = described.partitions.iter_mut().find(|partition| partition.partition == number);
                partition.into_iter().for_each(|partition| partition.segments.push(segment.clone()));
            }
            if page.next.is_none() || page.next <= from {
                return Ok(described); // A page that leads back ends the listing.
            }
            from = page.next;
        }
    }
}

fn unexpected(request: &'static str) -> AdminError {
    RequestError::Unexpected { address: "the broker".into(), request }.into()
}
