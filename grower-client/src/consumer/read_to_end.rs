//! Reads up to an end of each partition, which is fixed at the start.
//!
//! A partition that is read up to its end waits for the others: no record behind its end is handed out. Not every end
//! is reached by reading, since compaction may have removed the last records or the log may have lost them. So a reader
//! that waits asks the brokers, now and then, whether there is another record before the end.

use super::Consumer;
use super::state::SharedSubscription;
use crate::admin::list_offsets;
use crate::cluster::Cluster;
use crate::error::{ConsumeError, RequestError};
use crate::record::{ConsumerRecord, TopicPartition};
use crate::retry::{self, FetchAction};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use grower_protocol::ids::{Offset, Timestamp};
use grower_protocol::message::OffsetSpec;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;

/// The waits of a reader without records before it asks the brokers: each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Records up to an end of each partition; see [`Consumer::read_to_end`].
///
/// It is a [`Stream`] as well. It may be dropped before its end: the next call of the consumer reads on from there.
pub struct ReadToEnd<'a> {
    consumer: &'a mut Consumer,
    /// The errors of partitions whose end is unknown.
    errors: VecDeque<ConsumeError>,
    inquiry: EndInquiry,
    is_over: bool,
}

impl Consumer {
    /// Reads up to the high watermark that each assigned partition has now, and then ends. The brokers are asked for
    /// the high watermarks. The records behind them come from later calls of [`Consumer::next`], [`Consumer::poll`] or
    /// another `read_to_end`.
    ///
    /// It ends in every case, except that it waits, like `next`, while a broker is away:
    ///
    /// - An empty partition, or one that is already read, has nothing to wait for. The same holds for a paused one.
    /// - Records that compaction or retention removed, and those that a log has lost, are not waited for. A gap is
    ///   handled by the rule of [`ConsumerBuilder::on_gap`](crate::ConsumerBuilder::on_gap).
    /// - A damaged range with [`OnDamage::Fail`](crate::OnDamage::Fail), an offline partition, a deleted topic, or a
    ///   position outside the log is an error that comes once. The partition stays in place, and the others are read to
    ///   their ends. An error of the whole consumer is the last item.
    /// - A topic that is recreated meanwhile is read up to the end of the old records.
    /// - A partition that moves to another member of the group is not waited for. One that is assigned meanwhile is not
    ///   read before this ends.
    ///
    /// ```
    /// # use grower_client::{Record, TopicSpec};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let broker = grower_broker::Broker::start(grower_broker::BrokerConfig::at(dir.path())).await?;
    /// # let transport = grower_client::transport::in_process(broker.connector());
    /// # let client = grower_client::Client::builder().transport(transport).bootstrap(["in process"]).connect().await?;
    /// # client.admin().create_topic("prices", TopicSpec::partitions(3)).await?;
    /// # client.producer().build().await?.send(Record::new("prices").key("tea").value("3")).await?;
    /// let mut consumer = client.consumer().subscribe(["prices"]).build().await?;
    /// let mut cache = std::collections::HashMap::new();
    /// let mut present = consumer.read_to_end().await?;
    /// while let Some(record) = present.next().await {
    ///     let record = record?;
    ///     cache.insert(record.key, record.value);
    /// }
    /// assert_eq!(cache.len(), 1); // All that was in the topic; `consumer.next()` brings what comes later.
    /// # broker.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_to_end(&mut self) -> Result<ReadToEnd<'_>, ConsumeError> {
        self.read_up_to(OffsetSpec::End).await
    }

    /// Reads up to the first record of each assigned partition with the time `end` or a later one, or up to the present
    /// high watermark if there is none. Otherwise it is like [`Consumer::read_to_end`].
    ///
    /// Records that were written out of the order of their times may be later than `end`, or missed behind it.
    pub async fn read_to_time(&mut self, end: Timestamp) -> Result<ReadToEnd<'_>, ConsumeError> {
        self.read_up_to(OffsetSpec::AtOrAfter(end)).await
    }

    async fn read_up_to(&mut self, spec: OffsetSpec) -> Result<ReadToEnd<'_>, ConsumeError> {
        if self.closed {
            return Err(ConsumeError::Closed);
        }
        let topic_partitions = self.unpaused();
        let lookups = topic_partitions.iter().map(|topic_partition| (topic_partition, spec));
        let found = self.look_up(lookups, self.cluster.deadline()).await?;
        let (mut ends, mut errors) = (BTreeMap::new(), VecDeque::new());
        for (topic_partition, found) in topic_partitions.into_iter().zip(found) {
            match found {
                Ok(end) => drop(ends.insert(topic_partition, end)),
                Err(source) => errors.push_back(ConsumeError::Failed { topic_partition, source }),
            }
        }
        self.reads_to_end = true;
        self.shared.lock().read_up_to(&ends);
        Ok(ReadToEnd { consumer: self, errors, inquiry: EndInquiry::default(), is_over: false })
    }

    /// Ends the reading up to an end.
    pub(super) fn read_beyond_ends(&mut self) {
        if std::mem::take(&mut self.reads_to_end) {
            self.shared.lock().forget_read_ends();
        }
    }

    fn unpaused(&self) -> Vec<TopicPartition> {
        let subscription = self.shared.lock();
        let unpaused = subscription.partitions.iter().filter(|partition| partition.may_hand_out());
        unpaused.map(|partition| partition.topic_partition.clone()).collect()
    }
}

impl ReadToEnd<'_> {
    /// Returns the next record, and waits for one. Returns `None` at the end. It may be dropped at any time.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        poll_fn(|context| self.poll_record(context)).await
    }

    /// The consumer, for commits and positions.
    pub fn consumer(&self) -> &Consumer {
        self.consumer
    }

    fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ConsumerRecord, ConsumeError>>> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Poll::Ready(Some(Err(error)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Poll::Ready(item) = self.consumer.poll_one(context) {
                self.inquiry = EndInquiry::default();
                self.is_over = item.is_none();
                if let Some(Err(error)) = &item {
                    self.take_error(error);
                }
                return Poll::Ready(item);
            }
            if self.consumer.shared.lock().is_at_read_ends() {
                self.end();
                continue;
            }
            let Poll::Ready(answers) = self.inquiry.poll(context, self.consumer) else { return Poll::Pending };
            self.take_answers(answers);
        }
    }

    /// Stops reading the partitions that the error is about.
    fn take_error(&mut self, error: &ConsumeError) {
        match error {
            ConsumeError::Damaged { topic_partition, .. }
            | ConsumeError::OffsetOutOfRange { topic_partition, .. }
            | ConsumeError::Failed { topic_partition, .. } => {
                self.consumer.shared.lock().stop_reading(topic_partition);
            }
            ConsumeError::Topic { topic, .. } => self.consumer.shared.lock().stop_reading_topic(topic),
            ConsumeError::Gap(_) => {}
            _ => self.end(),
        }
    }

    fn take_answers(&mut self, answers: Vec<NextRecord>) {
        let mut subscription = self.consumer.shared.lock();
        for NextRecord { topic_partition, position, next } in answers {
            match next {
                Ok(next) => subscription.stop_reading_behind_last(&topic_partition, position, next),
                Err(source) if is_reported(&source) => {
                    subscription.stop_reading(&topic_partition);
                    self.errors.push_back(ConsumeError::Failed { topic_partition, source });
                }
                Err(_) => {} // Its fetch fails in the same way, and knows what to do.
            }
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        self.consumer.read_beyond_ends();
    }
}

impl Stream for ReadToEnd<'_> {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(context)
    }
}

fn is_reported(error: &RequestError) -> bool {
    matches!(retry::after_fetch(error), FetchAction::Report | FetchAction::ReportOnce)
}

/// The first record at or behind the position of a partition, if there is one.
struct NextRecord {
    topic_partition: TopicPartition,
    position: Offset,
    next: Result<Option<Offset>, RequestError>,
}

/// Asks the brokers for the next records of partitions that bring none.
#[derive(Default)]
struct EndInquiry {
    /// The answers of the current round, which begins with a wait.
    answers: Option<BoxFuture<'static, Vec<NextRecord>>>,
    rounds: u32,
}

impl EndInquiry {
    fn poll(&mut self, context: &mut Context<'_>, consumer: &Consumer) -> Poll<Vec<NextRecord>> {
        let rounds = self.rounds;
        let answers = self.answers.get_or_insert_with(|| {
            let wait = FIRST_WAIT.saturating_mul(1 << rounds.min(8)).min(LAST_WAIT);
            Box::pin(ask_for_next(consumer.cluster.clone(), consumer.shared.clone(), wait))
        });
        let Poll::Ready(answers) = answers.as_mut().poll(context) else { return Poll::Pending };
        (self.answers, self.rounds) = (None, rounds + 1);
        Poll::Ready(answers)
    }
}

/// Asks after a `wait`. An unreachable broker has no answer.
async fn ask_for_next(cluster: Arc<Cluster>, shared: Arc<SharedSubscription>, wait: Duration) -> Vec<NextRecord> {
    sleep(wait).await;
    let quiet = shared.lock().quiet_before_read_ends();
    let spec = |(topic_partition, position): &(TopicPartition, Offset)| {
        (topic_partition.topic.clone(), topic_partition.partition, OffsetSpec::FirstFrom(*position))
    };
    let lookups: Vec<_> = quiet.iter().map(spec).collect();
    let Ok(found) = list_offsets(&cluster, &lookups, cluster.deadline()).await else { return Vec::new() };
    debug_assert_eq!(found.len(), quiet.len(), "each lookup has an answer");
    let next = |((topic_partition, position), found): (_, Result<_, _>)| NextRecord {
        topic_partition,
        position,
        next: found.map(|listed: grower_protocol::message::ListedOffset| listed.offset),
    };
    quiet.into_iter().zip(found).map(next).collect()
}
