//! A workload that outlives the daemon: writers, a reader and a group that reconnect after each restart.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use super::ledger::{Ledger, Line};
use async_trait::async_trait;
use grower_client::ids::PartitionId;
use grower_client::transport::{Connection, Tcp, Transport};
use grower_client::{Client, Codec, Delivery, ErrorCode, Producer, Record, TopicSpec};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Where the daemon is now, if it is anywhere. No restart needs the port of the one before.
#[derive(Clone, Default)]
pub(crate) struct BrokerAddress(Arc<Mutex<Option<(SocketAddr, CancellationToken)>>>);

impl BrokerAddress {
    pub(crate) fn open(&self, address: SocketAddr) {
        *self.0.lock() = Some((address, CancellationToken::new()));
    }

    /// Ends every connection: from here on nothing that the daemon still says is heard, as if its machine were gone.
    pub(crate) fn close(&self) {
        if let Some((_, wires)) = self.0.lock().take() {
            wires.cancel();
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::builder().transport(self.clone()).bootstrap(["wherever it is"]).connect().await.unwrap()
    }
}

#[async_trait]
impl Transport for BrokerAddress {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Connection>> {
        let open = self.0.lock().clone();
        let (address, cut) = open.ok_or(io::ErrorKind::ConnectionRefused)?;
        let stream = Tcp.connect(&address.to_string()).await?;
        Ok(Box::new(Wire {
            stream,
            read: Box::pin(cut.clone().cancelled_owned()),
            written: Box::pin(cut.cancelled_owned()),
        }))
    }
}

/// A connection that ends with its door. Each direction waits for that by itself: they are used by two tasks.
struct Wire {
    stream: Box<dyn Connection>,
    read: Pin<Box<WaitForCancellationFutureOwned>>,
    written: Pin<Box<WaitForCancellationFutureOwned>>,
}

fn is_cut(end: &mut Pin<Box<WaitForCancellationFutureOwned>>, context: &mut Context<'_>) -> bool {
    end.as_mut().poll(context).is_ready()
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if is_cut(&mut self.read, context) {
            return reset();
        }
        Pin::new(&mut *self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if is_cut(&mut self.written, context) {
            return reset();
        }
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}

/// The tasks of a load. A task that fails shows at the next [`Workload::check`].
pub(crate) struct Workload {
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Ledger>,
    stop: CancellationToken,
    writers: JoinSet<()>,
    readers: JoinSet<()>,
    passing: Option<JoinSet<()>>,
}

pub(crate) const GROUP: &str = "committers";

/// How a writer writes: the codec, and how many lines it hands in before it waits for their acks.
const MANNERS: [(Codec, usize); 4] = [(Codec::None, 1), (Codec::None, 64), (Codec::Lz4, 300), (Codec::Zstd, 20)];

impl Workload {
    /// Creates the ledger's topic and begins to write and to read.
    pub(crate) async fn start(door: &BrokerAddress, ledger: Arc<Ledger>, configs: &[(&str, &str)]) -> Self {
        let client = door.client().await;
        let spec = TopicSpec::partitions(ledger.partitions());
        let spec = configs.iter().fold(spec, |spec, (key, value)| spec.config(*key, *value));
        client.admin().create_topic(ledger.topic, spec).await.unwrap();
        let stop = CancellationToken::new();
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        for manner in MANNERS {
            writers.spawn(write(client.clone(), ledger.clone(), manner, stop.clone()));
        }
        readers.spawn(follow(door.client().await, ledger.clone(), stop.clone()));
        readers.spawn(commit(door.client().await, ledger.clone(), stop.clone()));
        Self { client, ledger, stop, writers, readers, passing: None }
    }

    /// Lets one more writer begin, which is dropped in the middle of its work when the next one begins.
    pub(crate) fn begin_passing_writer(&mut self) {
        let mut tasks = JoinSet::new();
        let (client, ledger) = (self.client.clone(), self.ledger.clone());
        tasks.spawn(async move {
            let number = ledger.enrol();
            pass_topics(&client, &ledger, number).await;
            if let Ok(producer) = client.producer().build().await {
                Writer { number, producer, ledger }.run(40, &CancellationToken::new(), false).await;
            }
        });
        self.passing = Some(tasks);
    }

    /// Fails if a task has ended.
    pub(crate) fn check(&mut self) {
        for tasks in [&mut self.writers, &mut self.readers] {
            if let Some(ended) = tasks.try_join_next() {
                ended.unwrap();
                panic!("a task of the load ended early");
            }
        }
    }

    /// Topics whose creation was acknowledged are there, those whose deletion was are not.
    pub(crate) async fn check_topics(&self) {
        let promised = self.ledger.topics();
        let found = self.client.admin().describe_topics(None, false).await.unwrap();
        let found: BTreeSet<String> = found.into_iter().map(|topic| topic.unwrap().name.to_string()).collect();
        assert!(found.contains(self.ledger.topic), "{found:?}");
        for (name, exists) in promised {
            if self.ledger.topics().get(&name) == Some(&exists) {
                assert_eq!(found.contains(&name), exists, "topic {name}");
            }
        }
    }

    /// The group's committed offsets never go back.
    pub(crate) async fn check_commits(&self) {
        let partitions = 0..self.ledger.partitions();
        let before: Vec<u64> = partitions.map(|partition| self.ledger.committed(partition)).collect();
        let offsets = match self.client.admin().describe_group(GROUP).await {
            Ok(group) => group.offsets,
            // Nothing was committed before the broker first ended: then nothing may have been lost.
            Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        for (partition, before) in before.into_iter().enumerate() {
            let stored = offsets.iter().find(|stored| stored.partition == PartitionId::new(partition as u32));
            let offset = stored.map_or(0, |stored| stored.offset.value());
            assert!(before <= offset, "partition {partition}: {before} was committed, {offset} is remembered");
            self.ledger.commit(partition as u32, offset);
        }
    }

    /// Ends the load: every line that was handed in is acknowledged.
    pub(crate) async fn finish(mut self) -> Client {
        drop(self.passing.take());
        self.stop.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
        while let Some(ended) = self.readers.join_next().await {
            ended.unwrap();
        }
        self.client
    }
}

/// Creates a topic, and deletes an earlier one.
async fn pass_topics(client: &Client, ledger: &Ledger, number: u32) {
    let name = format!("passing-{number}");
    if client.admin().create_topic(&name, TopicSpec::partitions(1)).await.is_ok() {
        ledger.topic(&name, Some(true));
    }
    let oldest = ledger.topics().into_iter().filter(|(_, exists)| *exists).map(|(name, _)| name).nth(2);
    if let Some(oldest) = oldest {
        ledger.topic(&oldest, None);
        if client.admin().delete_topic(&oldest).await.is_ok() {
            ledger.topic(&oldest, Some(false));
        }
    }
}

struct Writer {
    number: u32,
    producer: Producer,
    ledger: Arc<Ledger>,
}

async fn write(client: Client, ledger: Arc<Ledger>, (codec, ahead): (Codec, usize), stop: CancellationToken) {
    let producer = client.producer().compression(codec).build().await.unwrap();
    Writer { number: ledger.enrol(), producer, ledger }.run(ahead, &stop, true).await;
}

impl Writer {
    /// Writes to all partitions in turns until told to stop, at most `ahead` lines ahead of the acks.
    async fn run(self, ahead: usize, stop: &CancellationToken, to_the_end: bool) {
        let (handed_in, acks) = mpsc::channel(ahead);
        let noting = tokio::spawn(note(acks, self.ledger.clone(), to_the_end));
        let mut lines = vec![0; self.ledger.partitions() as usize];
        'writing: loop {
            for (partition, next) in lines.iter_mut().enumerate() {
                if stop.is_cancelled() {
                    break 'writing;
                }
                let line = Line { writer: self.number, number: *next };
                let record = Record::new(self.ledger.topic).value(line.text(partition as u32));
                let delivery = self.producer.enqueue(record.partition(partition as u32)).await.unwrap();
                *next += 1;
                if handed_in.send((line, delivery)).await.is_err() {
                    break 'writing; // Noting failed, and says why.
                }
            }
        }
        drop(handed_in);
        noting.await.unwrap();
        self.ledger.complete(self.number, &lines);
    }
}

/// Notes the acks of a writer. That of a passing writer ends without the last ones.
async fn note(mut deliveries: mpsc::Receiver<(Line, Delivery)>, ledger: Arc<Ledger>, all: bool) {
    while let Some((line, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(ack) => ledger.note(line, &ack),
            Err(error) if all => panic!("{line:?}: {error}"),
            Err(_) => return,
        }
    }
}

/// Reads everything once, across restarts.
async fn follow(client: Client, ledger: Arc<Ledger>, stop: CancellationToken) {
    let mut consumer = client.consumer().subscribe([ledger.topic]).build().await.unwrap();
    while let Some(record) = stop.run_until_cancelled(consumer.next()).await.flatten() {
        ledger.show(&record.unwrap());
    }
}

/// Reads as a group and commits after each poll.
async fn commit(client: Client, ledger: Arc<Ledger>, stop: CancellationToken) {
    let builder = client.consumer().group(GROUP).subscribe([ledger.topic]).max_poll_records(50);
    let mut consumer = builder.session_timeout(Duration::from_secs(30)).build().await.unwrap();
    let mut reached = vec![0; ledger.partitions() as usize];
    while let Some(polled) = stop.run_until_cancelled(consumer.poll(Duration::from_secs(1))).await {
        for record in polled.unwrap() {
            let next = &mut reached[record.partition.value() as usize];
            assert!(
                record.offset.value() <= *next,
                "the group skipped to {} of partition {}",
                record.offset,
                record.partition
            );
            *next = record.offset.value() + 1;
        }
        if let Some(Ok(())) = stop.run_until_cancelled(consumer.commit()).await {
            for (partition, offset) in reached.iter().enumerate() {
                ledger.commit(partition as u32, *offset);
            }
        }
    }
}
