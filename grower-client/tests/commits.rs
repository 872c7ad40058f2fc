//! Concurrent and late commits.

mod world;

use bytes::BytesMut;
use grower_client::ids::Offset;
use grower_client::{Client, ErrorCode, TopicSpec, transport};
use grower_protocol::message::{Request, Response};
use grower_protocol::wire::{self, Frame, FrameDecoder, PREFACE_LENGTH};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use world::{LONG, Member, World, numbered, poll, read, topic_partition};

/// Observes all bytes between a client and the broker.
struct CommitObserver {
    /// Whether to hold back the next commit, with its connection to the broker; the client's connection is then closed.
    hold_next: AtomicBool,
    held: UnboundedSender<HeldCommit>,
    /// The commits without an answer, and the most there were at once.
    unanswered: AtomicUsize,
    most_unanswered: AtomicUsize,
}

/// A commit that reaches the broker late.
struct HeldCommit {
    frame: Vec<u8>,
    from_broker: ReadHalf<DuplexStream>,
    to_broker: WriteHalf<DuplexStream>,
}

impl HeldCommit {
    /// Delivers the commit to the broker.
    async fn deliver(mut self) -> Response {
        self.to_broker.write_all(&self.frame).await.unwrap();
        let (decoder, mut unread) = (FrameDecoder::new(1 << 20), BytesMut::new());
        let commit = frames(&self.frame[..], &decoder, &mut BytesMut::new()).await.unwrap().remove(0);
        loop {
            let answers = frames(&mut self.from_broker, &decoder, &mut unread).await.expect("an answer");
            if let Some(answer) = answers.into_iter().find(|answer| answer.correlation == commit.correlation) {
                return wire::decode(&answer.message).unwrap();
            }
        }
    }
}

impl CommitObserver {
    async fn client(self: &Arc<Self>, world: &World) -> Client {
        let (observer, connect) = (self.clone(), world.connector());
        let connect = move || {
            let (near, far) = duplex(1 << 16);
            tokio::spawn(observer.clone().forward(split(far), split(connect())));
            near
        };
        let builder = Client::builder().transport(transport::in_process(connect)).bootstrap(["observed"]);
        builder.connect().await.unwrap()
    }

    async fn forward(
        self: Arc<Self>,
        (mut from_client, mut to_client): (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
        (mut from_broker, mut to_broker): (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
    ) -> Option<()> {
        let mut preface = [0; PREFACE_LENGTH];
        from_client.read_exact(&mut preface).await.ok()?;
        to_broker.write_all(&preface).await.ok()?;
        from_broker.read_exact(&mut preface).await.ok()?;
        to_client.write_all(&preface).await.ok()?;
        let decoder = FrameDecoder::new(1 << 20);
        let (mut asked, mut answered) = (BytesMut::new(), BytesMut::new());
        let held = 'observing: loop {
            tokio::select! {
                requests = frames(&mut from_client, &decoder, &mut asked) => for request in requests? {
                    let is_commit = matches!(wire::decode(&request.message), Ok(Request::CommitOffsets(_)));
                    if is_commit && self.hold_next.swap(false, Ordering::SeqCst) {
                        break 'observing encode(&request);
                    }
                    let unanswered = self.unanswered.fetch_add(usize::from(is_commit), Ordering::SeqCst);
                    self.most_unanswered.fetch_max(unanswered + usize::from(is_commit), Ordering::SeqCst);
                    to_broker.write_all(&encode(&request)).await.ok()?;
                },
                answers = frames(&mut from_broker, &decoder, &mut answered) => for answer in answers? {
                    let is_commit = matches!(wire::decode(&answer.message), Ok(Response::CommitOffsets(_)));
                    self.unanswered.fetch_sub(usize::from(is_commit), Ordering::SeqCst);
                    to_client.write_all(&encode(&answer)).await.ok()?;
                },
            }
        };
        self.held.send(HeldCommit { frame: held, from_broker, to_broker }).ok()
    }
}

/// Reads the next complete frames; `None` at the end.
async fn frames(
    mut from: impl AsyncReadExt + Unpin,
    decoder: &FrameDecoder,
    unread: &mut BytesMut,
) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    while frames.is_empty() {
        if from.read_buf(unread).await.ok()? == 0 {
            return None;
        }
        while let Some(frame) = decoder.next_frame(unread).unwrap() {
            frames.push(frame);
        }
    }
    Some(frames)
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = wire::encode_frame(frame.correlation, &frame.message, frame.attachment.len());
    bytes.extend_from_slice(&frame.attachment);
    bytes
}

async fn observed() -> (World, Arc<CommitObserver>, UnboundedReceiver<HeldCommit>, Client) {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let (held, receiver) = unbounded_channel();
    let (hold_next, unanswered, most_unanswered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let observer = Arc::new(CommitObserver { hold_next, held, unanswered, most_unanswered });
    let client = observer.client(&world).await;
    (world, observer, receiver, client)
}

async fn committed(world: &World) -> u64 {
    world.client.admin().describe_group("g").await.unwrap().offsets[0].offset.value()
}

#[tokio::test]
async fn a_late_commit_does_not_undo_a_newer_one() {
    let (world, observer, mut held, client) = observed().await;
    let builder = client.consumer().group("g").subscribe(["events"]).max_poll_records(1);
    let mut member = Member::join(builder.session_timeout(Duration::from_secs(600))).await;
    assert_eq!(poll(&mut member.consumer, 2).await, [(0, 0), (0, 1)]);
    observer.hold_next.store(true, Ordering::SeqCst);
    member.consumer.commit().await.unwrap(); // Over another connection.
    assert_eq!(committed(&world).await, 2);
    assert_eq!(read(&mut member.consumer, 3).await.len(), 3);
    member.consumer.commit().await.unwrap();
    let late = tokio::time::timeout(LONG, held.recv()).await.unwrap().unwrap().deliver().await;
    let Response::Failed(failure) = late else { panic!("{late:?}") };
    assert_eq!(failure.code, ErrorCode::InvalidRequest, "{failure}");
    assert_eq!(committed(&world).await, 5);
    // An intended step back is allowed.
    member.consumer.seek("events", 0, Offset::new(1)).unwrap();
    assert_eq!(poll(&mut member.consumer, 1).await, [(0, 1)]);
    member.consumer.commit().await.unwrap();
    assert_eq!(committed(&world).await, 2);
}

#[tokio::test]
async fn a_member_sends_one_commit_at_a_time() {
    let (world, observer, _held, client) = observed().await;
    let auto = client.consumer().group("g").subscribe(["events"]).auto_commit(Some(Duration::from_millis(1)));
    let mut member = Member::join(auto.max_poll_records(1)).await;
    for number in 1..=10 {
        assert_eq!(poll(&mut member.consumer, 1).await.len(), 1);
        let consumer = &member.consumer;
        let older = consumer.commit_offsets([(topic_partition("events", 0), Offset::new(number - 1))]);
        let (older, newer) = tokio::join!(older, consumer.commit());
        older.and(newer).unwrap();
        assert_eq!(committed(&world).await, number);
    }
    assert_eq!(observer.most_unanswered.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_instance_that_replaces_a_killed_one_can_commit() {
    let (world, _observer, _held, client) = observed().await;
    for lives in 0..3 {
        let builder = client.consumer().group("g").member("pinkie").subscribe(["events"]).max_poll_records(1);
        let mut member = Member::join(builder.session_timeout(Duration::from_secs(600))).await;
        for next in [2 * lives, 2 * lives + 1] {
            assert_eq!(poll(&mut member.consumer, 1).await, [(0, next)]);
            member.consumer.commit().await.unwrap();
            assert_eq!(committed(&world).await, next + 1);
        }
        // The member is dropped without leaving its group.
    }
}
