//! How a consumer shall behave.

use super::Consumer;
use super::settings::{ConsumerSettings, OnDamage, RebalanceEvent, StartFrom};
use super::state::{Gap, OnGap, SharedSubscription};
use super::tasks::commit::{self, Committer};
use super::tasks::fetcher::Fetcher;
use super::tasks::membership::{self, GroupMember};
use super::tasks::new_partitions;
use super::tasks::start::{self, StartPolicy};
use crate::cluster::Cluster;
use crate::error::ConsumeError;
use crate::random_name::random_name;
use crate::record::TopicPartition;
use grower_protocol::ids::{GroupId, MemberId, NameError, PartitionId, TopicName};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Makes a [`Consumer`]; [`crate::Client::consumer`].
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
        let settings = ConsumerSettings {
            from: None,
            max_poll_records: 500,
            max_poll_bytes: 16 << 20,
            prefetch_bytes: 16 << 20,
            fetch_max_wait: Duration::from_millis(500),
            fetch_min_bytes: 1,
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(5 * 60),
            assignor: None,
            instance: None,
            auto_commit: None,
            on_damage: OnDamage::Fail,
            on_gap: Arc::new(|_| OnGap::Continue),
            metadata_max_age: Duration::from_secs(5),
            on_rebalance: None,
        };
        Self { cluster, group: None, member: None, subscribed: None, assigned: None, settings }
    }

    /// Shares the topics with the other members of a group, and remembers there how far it came. With
    /// [`ConsumerBuilder::assign`] it only remembers, which works as long as the group has no members.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Reads these topics: as a member of the group the partitions that the broker assigns, without a group all.
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

    /// Where to begin. A group decides this once for each topic, for all its partitions, when its first consumer begins to
    /// read it: the broker keeps the positions as commits, and every later consumer goes on there, whatever it was told. A
    /// partition that is added to its topic later is read from its beginning in any case.
    pub fn from(mut self, from: StartFrom) -> Self {
        self.settings.from = Some(from);
        self
    }

    /// How many records [`Consumer::poll`] returns at most; 500 by default.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.settings.max_poll_records = records.max(1);
        self
    }

    /// How much the records of one [`Consumer::poll`] may keep in memory, decompressed; 16 MiB by default. A record keeps
    /// all of its batch. The poll ends with the batch that reaches the limit.
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_poll_bytes = bytes;
        self
    }

    /// How much may be held for the reader, in bytes, all partitions together; 16 MiB by default. A batch counts as it
    /// lies in memory: as it was sent until its first record is handed out, decompressed from then on. One batch of each
    /// partition is fetched even if it is larger.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// How long a broker may hold back an answer while there is nothing to send; 500 ms by default.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.settings.fetch_max_wait = wait;
        self
    }

    /// How many bytes are worth an answer; 1 by default.
    pub fn fetch_min_bytes(mut self, bytes: u32) -> Self {
        self.settings.fetch_min_bytes = bytes;
        self
    }

    /// After how long without a word from it the group gives this member's partitions away; 10 s by default.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.session_timeout = timeout;
        self
    }

    /// After how long the member leaves its group because nobody asks it for records, while it has some: its reader is
    /// stuck, and others shall go on. It joins again when the reader comes back. 5 min by default.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.settings.max_poll_interval = interval;
        self
    }

    /// Names the member; by default a random name, which must be used by one consumer at a time.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// A name that survives restarts: whoever comes back under it within the session timeout gets its partitions back,
    /// and the other members do not notice. At once if the consumer before was closed; if it was killed, up to three
    /// seconds after its last heartbeat. If it lives it stops, and its reader is told [`ErrorCode::FencedInstance`]:
    /// two consumers must not share a name, and the last that comes has it. A consumer that is dead takes it from nobody,
    /// however late its requests arrive.
    ///
    /// [`ErrorCode::FencedInstance`]: grower_protocol::message::ErrorCode::FencedInstance
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.settings.instance = Some(name.into());
        self
    }

    /// How the group shares partitions: `range` (the default), `round-robin` or `sticky`. The first member's word counts.
    pub fn assignor(mut self, name: impl Into<String>) -> Self {
        self.settings.assignor = Some(name.into());
        self
    }

    /// Commits by itself at this interval, before a partition is given up, and on close; off by default. Only what the
    /// reader is done with is committed: what it got before its latest call. A partition is given up once the reader has
    /// come back from what it has of it in hand, or after a third of the session timeout.
    pub fn auto_commit(mut self, interval: Option<Duration>) -> Self {
        self.settings.auto_commit = interval;
        self
    }

    /// What to do about damaged records; by default they are reported.
    pub fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.settings.on_damage = on_damage;
        self
    }

    /// Decides what happens where records are gone that the consumer had not read: retention dropped them, or the topic was
    /// created again. `rule` is called by the reader's own call, after it got every record before the gap and before it gets
    /// one after it; so this is also the way to count gaps. By default reading goes on, with a warning in the log.
    pub fn on_gap(mut self, rule: impl Fn(&Gap) -> OnGap + Send + Sync + 'static) -> Self {
        self.settings.on_gap = Arc::new(rule);
        self
    }

    /// After how long a consumer without a group looks for new partitions; 5 s by default.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// Called, on a task of the consumer's, when partitions came or went. It must not block.
    pub fn on_rebalance(mut self, callback: impl Fn(RebalanceEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_rebalance = Some(Arc::new(callback));
        self
    }

    /// Joins the group, or finds out where to start, and begins to fetch. A partition that is offline does not keep others
    /// from being read: the reader is told [`ConsumeError::Failed`] once, and it is read once it is served.
    ///
    /// Without a group every topic must exist. In a group those that do not are read once they do.
    pub async fn build(self) -> Result<Consumer, ConsumeError> {
        let Self { cluster, group, member, subscribed, assigned, settings } = self;
        let group = group.map(|group| GroupId::new(&group)).transpose()?;
        if group.is_none() && (settings.from == Some(StartFrom::Committed) || settings.auto_commit.is_some()) {
            return Err(ConsumeError::Settings("committed offsets need a group: name one with `group`"));
        }
        let shared =
            Arc::new(SharedSubscription::new(settings.on_damage, settings.on_gap.clone(), settings.prefetch_bytes));
        let mut parts = ConsumerParts { cluster, shared, settings, tasks: JoinSet::new() };
        let committer = match (subscribed, assigned, group) {
            (Some(topics), None, Some(group)) => Some(parts.join(group, member_id(member)?, &topics).await?),
            (Some(topics), None, None) => parts.subscribe(&topics).await.map(|()| None)?,
            (None, Some(partitions), group) => {
                let committer = group.map(|group| Arc::new(Committer::new(parts.cluster.clone(), group, None)));
                parts.assign(&partitions, committer.clone()).await?;
                committer
            }
            _ => {
                return Err(ConsumeError::Settings("a consumer either subscribes to topics or is assigned partitions"));
            }
        };
        Ok(parts.open(committer))
    }
}

/// A consumer being built.
struct ConsumerParts {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    settings: ConsumerSettings,
    tasks: JoinSet<()>,
}

impl ConsumerParts {
    fn policy(&self, committer: Option<Arc<Committer>>) -> StartPolicy {
        StartPolicy { committer, from: self.settings.from }
    }

    async fn join(&mut self, group: GroupId, id: MemberId, topics: &[String]) -> Result<Arc<Committer>, ConsumeError> {
        let member = Arc::new(GroupMember::new(group.clone(), id, names(topics)?, self.settings.instance.is_some()));
        let committer = Arc::new(Committer::new(self.cluster.clone(), group, Some(member.clone())));
        let policy = self.policy(Some(committer.clone()));
        let Self { cluster, shared, settings, tasks } = self;
        tasks.spawn(membership::join(cluster, shared, &member, &committer, settings, &policy).await?.run());
        Ok(committer)
    }

    async fn subscribe(&mut self, topics: &[String]) -> Result<(), ConsumeError> {
        let topics = names(topics)?;
        let policy = self.policy(None);
        new_partitions::subscribe(&self.cluster, &self.shared, &topics, &policy, &mut self.tasks).await?;
        let (cluster, shared) = (self.cluster.clone(), self.shared.clone());
        self.tasks.spawn(new_partitions::keep_up(cluster, shared, topics, self.settings.metadata_max_age));
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
        let policy = self.policy(committer);
        start::assign(&self.cluster, &self.shared, &topic_partitions, &policy, &mut self.tasks).await
    }

    /// Begins to fetch.
    fn open(self, committer: Option<Arc<Committer>>) -> Consumer {
        let Self { cluster, shared, settings, mut tasks, .. } = self;
        if let (Some(interval), Some(committer)) = (settings.auto_commit, &committer) {
            tasks.spawn(commit::keep_committing(committer.clone(), shared.clone(), interval));
        }
        tasks.spawn(Fetcher::run(cluster.clone(), shared.clone(), settings.clone()));
        Consumer::new(cluster, shared, settings, committer, tasks)
    }
}

fn names(topics: &[String]) -> Result<Vec<TopicName>, NameError> {
    topics.iter().map(|topic| TopicName::new(topic)).collect()
}

fn member_id(chosen: Option<String>) -> Result<MemberId, NameError> {
    MemberId::new(&chosen.unwrap_or_else(random_name))
}
