//! Builds a consumer.

use super::Consumer;
use super::settings::{ConsumerSettings, OnDamage, OnGap, RebalanceEvent, StartFrom};
use super::state::SharedSubscription;
use super::tasks::commit::{self, Committer};
use super::tasks::essential::essential;
use super::tasks::fetcher::Fetcher;
use super::tasks::membership::{MemberIdentity, MembershipTask};
use super::tasks::new_partitions;
use super::tasks::start::{self, StartPolicy};
use crate::cluster::Cluster;
use crate::error::ConsumeError;
use crate::gap::Gap;
use crate::random_name::random_name;
use crate::record::TopicPartition;
use futures_core::future::BoxFuture;
use grower_protocol::ids::{GroupId, MemberId, NameError, Offset, PartitionId, TopicName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Builds a [`Consumer`]; see [`crate::Client::consumer`].
#[derive(Clone)]
pub struct ConsumerBuilder {
    cluster: Arc<Cluster>,
    group: Option<String>,
    member: Option<String>,
    subscribed: Option<Vec<String>>,
    assigned: Option<Vec<(String, PartitionId)>>,
    settings: ConsumerSettings,
}

impl ConsumerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            group: None,
            member: None,
            subscribed: None,
            assigned: None,
            settings: ConsumerSettings::default(),
        }
    }

    /// Joins a group: its members share the topics, and it stores their committed offsets. With
    /// [`ConsumerBuilder::assign`] the group only stores offsets, which works while it has no members.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Reads these topics: in a group the partitions that the broker assigns, otherwise all.
    pub fn subscribe(mut self, topics: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.subscribed = Some(topics.into_iter().map(|topic| topic.as_ref().to_owned()).collect());
        self
    }

    /// Reads exactly these partitions.
    pub fn assign(mut self, partitions: impl IntoIterator<Item = (impl AsRef<str>, impl Into<PartitionId>)>) -> Self {
        let named = |(topic, partition): (_, _)| (AsRef::<str>::as_ref(&topic).to_owned(), Into::into(partition));
        self.assigned = Some(partitions.into_iter().map(named).collect());
        self
    }

    /// Sets the start position: [`StartFrom::Beginning`] by default, [`StartFrom::Committed`] with a group.
    ///
    /// A group decides it once for each topic, for all partitions, when its first consumer starts: the broker stores the
    /// positions as commits, and later consumers continue there, regardless of their own setting. Partitions that the
    /// topic gains later are always read from their beginning.
    pub fn from(mut self, from: StartFrom) -> Self {
        self.settings.from = Some(from);
        self
    }

    /// Sets the start offsets of single partitions, for programs that keep their positions themselves. They take
    /// precedence over [`ConsumerBuilder::from`] and over the commits of a group; other partitions are not affected.
    ///
    /// [`ConsumerBuilder::build`] fails with [`ConsumeError::NotAssigned`] if the consumer does not read one of them. A
    /// member of a group learns its partitions later, so it cannot have start offsets: it seeks at
    /// [`ConsumerEvent::Assigned`](crate::ConsumerEvent::Assigned).
    pub fn start_at(mut self, starts: impl IntoIterator<Item = (TopicPartition, Offset)>) -> Self {
        self.settings.start_at.extend(starts);
        self
    }

    /// Limits the records that [`Consumer::poll`] returns; 500 by default.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.settings.max_poll_records = records.max(1);
        self
    }

    /// Limits the memory that the records of one [`Consumer::poll`] keep, in bytes after decompression; 16 MiB by
    /// default. A record keeps its whole batch. The poll ends with the batch that reaches the limit.
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_poll_bytes = bytes;
        self
    }

    /// Limits the memory for prefetched records of all partitions, in bytes; 16 MiB by default. It counts what is on
    /// its way, too. A batch counts as it is in memory: as sent until its first record is handed out, decompressed from
    /// then on. A fetch brings at least one batch, however large, and up to three fetches are in flight for each
    /// broker: batches that suddenly grow may pass the limit once. A paused partition gives up its prefetched records
    /// if the others need the memory, and gets them again later.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// Sets how long a broker may hold a fetch while it has too few records; 500 ms by default.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.settings.fetch_max_wait = wait;
        self
    }

    /// Sets how many bytes a broker should have before it answers a fetch; 1 by default.
    pub fn fetch_min_bytes(mut self, bytes: u32) -> Self {
        self.settings.fetch_min_bytes = bytes;
        self
    }

    /// Sets the time without heartbeats after which the group reassigns this member's partitions; 10 s by default.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.session_timeout = timeout;
        self
    }

    /// Sets how long a partition that moves to another member waits for this reader; the session timeout by default, at
    /// most 15 min. During the wait the partition hands out no more records. It moves once the reader has committed
    /// those that it has and calls for more; a reader that has not committed anything yet only calls for more. When the
    /// time is up, the partition moves anyway: its next owner reads uncommitted records again, and the next
    /// [`Consumer::commit`] fails and names it.
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.settings.rebalance_timeout = Some(timeout);
        self
    }

    /// Sets the time without a poll, while records are available, after which the member leaves its group so that
    /// others can read its partitions. It rejoins at the next poll. 5 min by default.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.settings.max_poll_interval = interval;
        self
    }

    /// Sets the member id, which only one consumer may use at a time; a random id by default.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// Sets an instance name that survives restarts: a consumer that returns under it within the session timeout gets
    /// its partitions back without a rebalance. It gets them at once if its predecessor was closed, and within three
    /// seconds of the last heartbeat if it was killed. If the predecessor still runs, it stops with
    /// [`ErrorCode::FencedInstance`]: only one consumer may use a name, and the latest one wins. Delayed requests of a
    /// dead consumer never take the name back.
    ///
    /// [`ErrorCode::FencedInstance`]: grower_protocol::message::ErrorCode::FencedInstance
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.settings.instance = Some(name.into());
        self
    }

    /// Sets the assignor of the group: `range` (the default), `round-robin` or `sticky`. The setting of the first
    /// member applies.
    pub fn assignor(mut self, name: impl Into<String>) -> Self {
        self.settings.assignor = Some(name.into());
        self
    }

    /// Commits automatically at this interval, before a partition moves to another member, and on close; off by
    /// default. Only consumed records are committed: those returned before the latest call.
    pub fn auto_commit(mut self, interval: Option<Duration>) -> Self {
        self.settings.auto_commit = interval;
        self
    }

    /// Sets the handling of damaged records; by default they are reported.
    pub fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.settings.on_damage = on_damage;
        self
    }

    /// Sets the rule for gaps: unread records that retention deleted, or that vanished because the topic was recreated.
    /// The reader's own call runs `rule` after it returned all records before the gap and before it returns one behind
    /// it, so the rule can also count gaps. By default the consumer logs a warning and continues.
    pub fn on_gap(mut self, rule: impl Fn(&Gap) -> OnGap + Send + Sync + 'static) -> Self {
        self.settings.on_gap = Arc::new(rule);
        self
    }

    /// Sets the interval at which a consumer without a group looks for new partitions; 5 s by default.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// Sets a callback that a task of the consumer runs after partitions were assigned or revoked. It must not block. To
    /// act before the first record of a partition, use [`Consumer::next_event`].
    pub fn on_rebalance(mut self, callback: impl Fn(RebalanceEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_rebalance = Some(Arc::new(callback));
        self
    }

    /// Joins the group or determines the start positions, and starts to fetch. An offline partition does not block the
    /// others: the reader gets [`ConsumeError::Failed`] once, and reads the partition when it is served again.
    ///
    /// Without a group every topic must exist. In a group, a missing topic is read once it exists.
    ///
    /// If a join is in doubt after an error, or the future is dropped, a task withdraws it. A member with a chosen id or
    /// without a runtime is not withdrawn: it remains in its group until its session times out.
    pub fn build(self) -> BoxFuture<'static, Result<Consumer, ConsumeError>> {
        Box::pin(self.assemble()) // This crate compiles the consumer's tasks, not each crate that awaits this.
    }

    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    async fn assemble(self) -> Result<Consumer, ConsumeError> {
        let Self { cluster, group, member, subscribed, assigned, settings } = self;
        let group = group.map(|group| GroupId::new(&group)).transpose()?;
        if group.is_none() && (settings.from == Some(StartFrom::Committed) || settings.auto_commit.is_some()) {
            return Err(ConsumeError::Settings("committed offsets need a group: name one with `group`"));
        }
        if group.is_some() && subscribed.is_some() && !settings.start_at.is_empty() {
            return Err(ConsumeError::Settings("a member of a group has no start offsets: seek to them when assigned"));
        }
        let shared = Arc::new(SharedSubscription::new(
            settings.on_damage,
            settings.on_gap.clone(),
            settings.prefetch_bytes,
            Instant::now(),
        ));
        let mut parts = ConsumerParts { cluster, shared, settings, tasks: JoinSet::new() };
        let committer = match (subscribed, assigned, group) {
            (Some(topics), None, Some(group)) => Some(parts.join(group, member, &topics).await?),
            (Some(topics), None, None) => parts.subscribe(&topics).await.map(|()| None)?,
            (None, Some(partitions), group) => {
                let committer = group.map(|group| Committer::new(parts.cluster.clone(), group, None)).transpose()?;
                let committer = committer.map(Arc::new);
                parts.assign(&partitions, committer.clone()).await?;
                committer
            }
            _ => {
                return Err(ConsumeError::Settings("a consumer either subscribes to topics or is assigned partitions"));
            }
        };
        parts.check_start_offsets()?;
        Ok(parts.open(committer))
    }
}

/// The parts of a consumer that is being built.
struct ConsumerParts {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    settings: ConsumerSettings,
    tasks: JoinSet<()>,
}

impl ConsumerParts {
    fn policy(&self, committer: Option<Arc<Committer>>) -> StartPolicy {
        StartPolicy { committer, from: self.settings.from, at: Arc::new(self.settings.start_at.clone()) }
    }

    async fn join(
        &mut self,
        group: GroupId,
        chosen: Option<String>,
        topics: &[String],
    ) -> Result<Arc<Committer>, ConsumeError> {
        let (is_static, is_chosen) = (self.settings.instance.is_some(), chosen.is_some());
        let id = member_id(&group, chosen)?;
        let member = Arc::new(MemberIdentity::new(group.clone(), id, names(topics)?, is_static, is_chosen));
        let committer = Arc::new(Committer::new(self.cluster.clone(), group, Some(member.clone()))?);
        let policy = self.policy(Some(committer.clone()));
        let Self { cluster, shared, settings, tasks } = self;
        let membership = MembershipTask::new(cluster, shared, &member, &committer, settings, &policy);
        tasks.spawn(essential(shared, membership.join().await?.run()));
        Ok(committer)
    }

    async fn subscribe(&mut self, topics: &[String]) -> Result<(), ConsumeError> {
        let (topics, deadline) = (names(topics)?, self.cluster.deadline());
        let policy = self.policy(None);
        new_partitions::subscribe(&self.cluster, &self.shared, &topics, &policy, &mut self.tasks, deadline).await?;
        let (cluster, shared) = (self.cluster.clone(), self.shared.clone());
        let polling = new_partitions::poll_topics(cluster, shared, topics, self.settings.metadata_max_age);
        self.tasks.spawn(essential(&self.shared, polling));
        Ok(())
    }

    async fn assign(
        &mut self,
        partitions: &[(String, PartitionId)],
        committer: Option<Arc<Committer>>,
    ) -> Result<(), ConsumeError> {
        let topic_partition = |(topic, partition): &(String, _)| {
            Ok(TopicPartition { topic: TopicName::new(topic)?, partition: *partition })
        };
        let topic_partitions = partitions.iter().map(topic_partition).collect::<Result<Vec<_>, NameError>>()?;
        let topic_partitions = each_once(topic_partitions);
        let (policy, deadline) = (self.policy(committer), self.cluster.deadline());
        start::assign(&self.cluster, &self.shared, &topic_partitions, &policy, &mut self.tasks, deadline).await
    }

    fn check_start_offsets(&self) -> Result<(), ConsumeError> {
        let subscription = self.shared.lock();
        match self.settings.start_at.keys().find(|name| !subscription.partitions.contains(name)) {
            Some(name) => Err(ConsumeError::NotAssigned { topic_partition: name.clone() }),
            None => Ok(()),
        }
    }

    /// Starts the background tasks.
    fn open(self, committer: Option<Arc<Committer>>) -> Consumer {
        let Self { cluster, shared, settings, mut tasks, .. } = self;
        if let (Some(interval), Some(committer)) = (settings.auto_commit, &committer) {
            let committing = commit::keep_committing(committer.clone(), shared.clone(), interval);
            tasks.spawn(essential(&shared, committing));
        }
        tasks.spawn(essential(&shared, Fetcher::run(cluster.clone(), shared.clone(), settings.clone())));
        Consumer::new(cluster, shared, settings, committer, tasks)
    }
}

/// Returns the topics, each once, in their order.
fn names(topics: &[String]) -> Result<Vec<TopicName>, NameError> {
    let names = topics.iter().map(|topic| TopicName::new(topic)).collect::<Result<Vec<_>, _>>()?;
    Ok(each_once(names))
}

fn each_once<T: Clone + Ord>(items: Vec<T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

/// Returns the chosen member id, or a random one.
fn member_id(group: &GroupId, chosen: Option<String>) -> Result<MemberId, ConsumeError> {
    let name = match chosen {
        Some(name) => name,
        None => random_name().map_err(|error| commit::no_randomness(group, error))?,
    };
    Ok(MemberId::new(&name)?)
}
