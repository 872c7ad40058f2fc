//! An in-memory broker with one topic and one partition, with scripted faults.
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod counted;
mod log;
mod sessions;

use bytes::BytesMut;
use counted::Counted;
use grower_client::ids::{LeaderEpoch, MemberEpoch, NodeId, PartitionId, TopicId, TopicName};
use grower_client::{Client, ErrorCode, Failure, transport};
use grower_protocol::message::*;
use grower_protocol::wire::{self, Correlation, Frame, FrameDecoder, PREFACE_LENGTH, Preface};
use log::Log;
use sessions::{SessionBytes, Sessions, WaitingFetch};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The only topic.
pub(crate) const TOPIC: &str = "events";

/// The reaction to a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Serves the request like a broker.
    Serve,
    /// Refuses the request.
    Refuse(ErrorCode),
    /// Serves the request without an answer.
    Silence,
    /// Serves the request, then closes the connection instead of answering.
    ServeAndCut,
    /// Closes the connection.
    Cut,
    /// Serves the request and answers after the answer to the next one.
    AnswerLate,
    /// Answers with these bytes.
    Bytes(Vec<u8>),
}

type Script = dyn Fn(&Request) -> Act + Send + Sync;

/// A running broker; clones share its state.
#[derive(Clone)]
pub(crate) struct FakeBroker {
    log: Arc<Mutex<Log>>,
    sessions: Arc<Mutex<Sessions>>,
    /// The node that leads the partition; it has the address `fake:NODE`.
    leader: Arc<AtomicUsize>,
    script: Arc<Script>,
    preface: Preface,
    features: Vec<Feature>,
    writes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl FakeBroker {
    pub(crate) fn new(script: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        let (writes, connections) = (Arc::default(), Arc::default());
        Self {
            log: Arc::default(),
            sessions: Arc::default(),
            leader: Arc::new(AtomicUsize::new(1)),
            script: Arc::new(script),
            preface: Preface::OURS,
            features: Feature::ours(),
            writes,
            connections,
        }
    }

    /// Creates a broker that applies `faults`, one by one, to the requests that `picks` selects.
    pub(crate) fn failing(picks: fn(&Request) -> bool, faults: impl IntoIterator<Item = Act>) -> Self {
        let faults = Mutex::new(faults.into_iter().collect::<std::collections::VecDeque<_>>());
        Self::new(
            move |request| {
                if picks(request) { faults.lock().unwrap().pop_front().unwrap_or(Act::Serve) } else { Act::Serve }
            },
        )
    }

    pub(crate) fn speaking(self, preface: Preface) -> Self {
        Self { preface, ..self }
    }

    /// Removes a feature, as in an earlier version.
    pub(crate) fn without(self, feature: &str) -> Self {
        let features = self.features.iter().filter(|known| known.0 != feature).cloned().collect();
        Self { features, ..self }
    }

    /// Sends batch `which` with a flipped bit from now on.
    pub(crate) fn damage(&self, which: usize) {
        self.log.lock().unwrap().damaged.push(which);
    }

    /// Loses all batches except the first ones.
    pub(crate) fn lose_all_but(&self, batches: usize) {
        self.log.lock().unwrap().batches.truncate(batches);
    }

    /// Gives each name to another process and back, as a delayed claim of its former holder does.
    pub(crate) fn return_names(&self) {
        for (_, identity) in self.log.lock().unwrap().names.values_mut() {
            identity.epoch = identity.epoch.next().next();
        }
    }

    /// Forgets the batches of all producers.
    pub(crate) fn forget_producers(&self) {
        self.log.lock().unwrap().producers.clear();
    }

    /// Deletes the topic with all its records.
    pub(crate) fn delete_topic(&self) {
        let mut log = self.log.lock().unwrap();
        let (identities, names) = (log.identities, std::mem::take(&mut log.names));
        *log = Log { topic: None, identities, names, ..Log::default() };
    }

    /// Creates the topic again, with this byte in its id.
    pub(crate) fn create_topic(&self, id: u8) {
        self.log.lock().unwrap().topic = Some(TopicId::from_random([id; 16]));
    }

    /// Forgets all fetch sessions.
    pub(crate) fn evict_sessions(&self) {
        self.sessions.lock().unwrap().evict();
    }

    /// Makes another address the leader. The sessions at the earlier one do not learn of it.
    pub(crate) fn cut_leader_off(&self) {
        self.leader.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes another address the leader. The sessions at the earlier one learn of it.
    pub(crate) fn move_leader(&self) {
        self.leader.fetch_add(1, Ordering::Relaxed);
        self.sessions.lock().unwrap().move_leader();
    }

    /// The number of open fetch sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.lock().unwrap().count()
    }

    /// Answers the next read with parts that contradict each other; returns once that happened.
    pub(crate) async fn contradict_itself(&self) {
        self.sessions.lock().unwrap().contradict();
        while self.sessions.lock().unwrap().will_contradict() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn session_bytes(&self) -> SessionBytes {
        self.sessions.lock().unwrap().bytes()
    }

    /// Returns a client with a short request timeout.
    pub(crate) async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }

    pub(crate) async fn try_client(&self) -> Result<Client, grower_client::ConnectError> {
        self.client_with_patience(Duration::from_millis(300)).await
    }

    pub(crate) async fn client_with_patience(
        &self,
        request_timeout: Duration,
    ) -> Result<Client, grower_client::ConnectError> {
        let builder = Client::builder().transport(transport::in_process(self.connector())).bootstrap(["fake:1"]);
        builder.request_timeout(request_timeout).connect().await
    }

    /// Returns a function that opens connections to the broker.
    pub(crate) fn connector(&self) -> impl Fn() -> Counted + Clone + Send + Sync + 'static {
        let fake = self.clone();
        move || {
            let (near, far) = duplex(1 << 16);
            tokio::spawn(fake.clone().serve(far));
            Counted { stream: near, writes: fake.writes.clone() }
        }
    }

    /// The values of all records in the log.
    pub(crate) fn values(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let records = log.batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap());
        records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()).collect()
    }

    /// The number of writes by all clients.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// The number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The number of records in each batch.
    pub(crate) fn batch_sizes(&self) -> Vec<u64> {
        self.log.lock().unwrap().batches.iter().map(|batch| batch.header().record_count.into()).collect()
    }

    async fn serve(self, stream: DuplexStream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.converse(stream).await;
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    async fn converse(&self, stream: DuplexStream) {
        let (mut read, mut write) = split(stream);
        write.write_all(&self.preface.encode()).await.unwrap();
        let mut theirs = [0; PREFACE_LENGTH];
        if read.read_exact(&mut theirs).await.is_err() {
            return;
        }
        let (answers, outbox) = unbounded_channel();
        // Either end closes the connection for both.
        tokio::select! {
            () = self.receive(read, answers) => {}
            () = send(write, outbox) => {}
        }
    }

    async fn receive(&self, mut read: ReadHalf<DuplexStream>, answers: UnboundedSender<Vec<u8>>) {
        let decoder = FrameDecoder::new(64 << 20);
        let mut unread = BytesMut::new();
        let mut late = None;
        loop {
            while let Some(frame) = decoder.next_frame(&mut unread).unwrap() {
                let correlation = frame.correlation;
                let request: Request = wire::decode(&frame.message).unwrap();
                let answer = match (self.script)(&request) {
                    Act::Cut => return,
                    Act::Refuse(code) => encode(correlation, &Response::Failed(Failure::new(code, "as scripted")), &[]),
                    Act::Bytes(bytes) => bytes,
                    Act::Serve if matches!(request, Request::FetchSession(_)) => {
                        let Request::FetchSession(asked) = request else { unreachable!() };
                        let applied = self.sessions.lock().unwrap().apply(&asked);
                        let (fake, answers) = (self.clone(), answers.clone());
                        // It may wait while the next ones are read.
                        tokio::spawn(async move { answers.send(fake.fetch(correlation, asked, applied).await) });
                        continue;
                    }
                    act => {
                        let answer = self.answer(request, frame).await;
                        match act {
                            Act::ServeAndCut => return,
                            Act::Silence => continue,
                            Act::AnswerLate => {
                                late = Some(answer);
                                continue;
                            }
                            _ => answer,
                        }
                    }
                };
                answers.send(answer).ok();
                late.take().and_then(|late| answers.send(late).ok());
            }
            if read.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                return;
            }
        }
    }

    async fn answer(&self, request: Request, frame: Frame) -> Vec<u8> {
        let correlation = frame.correlation;
        let response = match request {
            Request::Hello(_) => Response::Hello(HelloAnswer { features: self.features.clone(), ..hello() }),
            Request::Metadata(asked) => {
                let leader = self.leader.load(Ordering::Relaxed) as u32;
                Response::Metadata(metadata(asked, self.log.lock().unwrap().topic, leader))
            }
            Request::InitProducer(asked) => match self.log.lock().unwrap().identity(asked) {
                Ok(identity) => Response::InitProducer(identity),
                Err(failure) => Response::Failed(failure),
            },
            Request::FenceProducer(asked) => {
                Response::FenceProducer(vec![self.log.lock().unwrap().fence(asked.producer)])
            }
            Request::Produce(asked) => {
                let mut log = self.log.lock().unwrap();
                let is_there = log.topic == Some(asked.partitions[0].topic);
                let gone = Failure::new(ErrorCode::UnknownTopicId, "no topic has this id");
                let expected = asked.partitions[0].expected_end;
                Response::Produce(vec![if is_there { log.append(frame.attachment, expected) } else { Err(gone) }])
            }
            Request::ListOffsets(asked) => Response::ListOffsets(self.log.lock().unwrap().list(&asked)),
            Request::ReportDamage(_) | Request::LeaveGroup { .. } => Response::Done,
            Request::CommitOffsets(commit) => Response::CommitOffsets(commit.offsets.iter().map(|_| Ok(())).collect()),
            Request::ListGroups { .. } => Response::ListGroups { groups: Vec::new(), next: None },
            Request::Heartbeat(beat) => {
                let partitions = vec![PartitionId::new(0)];
                let topic = self.log.lock().unwrap().topic;
                Response::Heartbeat(HeartbeatAnswer {
                    epoch: MemberEpoch::new(1),
                    interval_ms: beat.session_timeout_ms / 2,
                    assignment: topic
                        .into_iter()
                        .map(|topic| TopicPartitions { topic, partitions: partitions.clone() })
                        .collect(),
                })
            }
            Request::FetchOffsets { .. } | Request::StartOffsets(_) => Response::FetchOffsets(Vec::new()),
            Request::FetchSession(asked) => {
                let applied = self.sessions.lock().unwrap().apply(&asked);
                return self.fetch(correlation, asked, applied).await;
            }
            other => panic!("the fake broker does not know {other:?}"),
        };
        encode(correlation, &response, &[])
    }
}

impl FakeBroker {
    /// Answers a fetch whose changes were `applied`, after a long poll.
    async fn fetch(
        &self,
        correlation: Correlation,
        asked: FetchSession,
        applied: Result<WaitingFetch, Failure>,
    ) -> Vec<u8> {
        let waiting = match applied {
            Ok(waiting) => waiting,
            Err(failure) => return encode(correlation, &Response::Failed(failure), &[]),
        };
        for waited_ms in 0.. {
            let is_due = asked.step == SessionStep::Open || asked.max_wait_ms <= waited_ms;
            let answer = self.sessions.lock().unwrap().answer(waiting, &self.log.lock().unwrap(), is_due);
            match answer {
                Ok(None) => tokio::time::sleep(Duration::from_millis(1)).await,
                Ok(Some((answer, bytes))) => return encode(correlation, &Response::FetchSession(answer), &bytes),
                Err(failure) => return encode(correlation, &Response::Failed(failure), &[]),
            }
        }
        unreachable!("a long poll ends");
    }
}

async fn send(mut write: WriteHalf<DuplexStream>, mut outbox: UnboundedReceiver<Vec<u8>>) {
    while let Some(answer) = outbox.recv().await {
        if write.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn hello() -> HelloAnswer {
    HelloAnswer {
        software: "fake".to_owned(),
        version: "0".to_owned(),
        features: Feature::ours(),
        unknown_features: Vec::new(),
        cluster_id: "fake".to_owned(),
        node: NodeId::new(1),
        frame_bytes_max: 16 << 20,
    }
}

fn metadata(asked: Metadata, id: Option<TopicId>, leader: u32) -> MetadataAnswer {
    let names = asked.topics.unwrap_or_default();
    let topic = |name: TopicName| {
        let partition = PartitionMetadata {
            partition: PartitionId::new(0),
            leader: Some(NodeId::new(leader)),
            leader_epoch: LeaderEpoch::new(1),
            replicas: vec![NodeId::new(1)],
            in_sync: vec![NodeId::new(1)],
        };
        match (name.as_str(), id) {
            (TOPIC, Some(id)) => Ok(TopicMetadata { name, id, partitions: vec![partition] }),
            _ => Err(Failure::new(ErrorCode::UnknownTopic, "no such topic")),
        }
    };
    let brokers =
        (1..=leader).map(|node| BrokerAddress { node: NodeId::new(node), address: format!("fake:{node}") }).collect();
    MetadataAnswer { brokers, topics: names.into_iter().map(topic).collect() }
}

/// Encodes a complete frame.
pub(crate) fn encode(correlation: Correlation, response: &Response, attachment: &[u8]) -> Vec<u8> {
    let mut bytes = wire::encode_frame(correlation, &wire::encode(response), attachment.len());
    bytes.extend_from_slice(attachment);
    bytes
}
