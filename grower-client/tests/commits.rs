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
struct Watch {
    /// Whether to hold back the next commit, with its connection to the broker; the client's connection is then closed.
    keep_one: AtomicBool,
    kept: UnboundedSender<Kept>,
    /// The commits without an answer, and the most there were at once.
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// A commit that reaches the broker late.
struct Kept {
    frame: Vec<u8>,
    from_broker: ReadHalf<DuplexStream>,
    to_broker: WriteHalf<DuplexStream>,
}

impl Kept {
    /// Delivers the commit to the broker.
    async fn arrive(mut self) -> Response {
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

impl Watch {
    async fn client(self: &Arc<Self>, world: &World) -> Client {
        let (watch, connect) = (self.clone(), world.connector());
        let connect = move || {
            let (near, far) = duplex(1 << 16);
            tokio::spawn(watch.clone().carry(split(far), split(connect())));
            near
        };
        let builder = Client::builder().transport(transport::in_process(connect)).bootstrap(["watched"]);
        builder.connect().await.unwrap()
    }

    async fn carry(
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
        let kept = 'watching: loop {
            tokio::select! {
                requests = frames(&mut from_client, &decoder, &mut asked) => for request in requests? {
                    let is_commit = matches!(wire::decode(&request.message), Ok(Request::CommitOffsets(_)));
                    if is_commit && self.keep_one.swap(false, Ordering::SeqCst) {
                        break 'watching encode(&request);
                    }
                    let under_way = self.under_way.fetch_add(usize::from(is_commit), Ordering::SeqCst);
                    self.most.fetch_max(under_way + usize::from(is_commit), Ordering::SeqCst);
                    to_broker.write_all(&encode(&request)).await.ok()?;
                },
                answers = frames(&mut from_broker, &decoder, &mut answered) => for answer in answers? {
                    let is_commit = matches!(wire::decode(&answer.message), Ok(Response::CommitOffsets(_)));
                    self.under_way.fetch_sub(usize::from(is_commit), Ordering::SeqCst);
                    to_client.write_all(&encode(&answer)).await.ok()?;
                },
            }
        };
        self.kept.send(Kept { frame: kept, from_broker, to_broker }).ok()
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

async fn watched() -> (World, Arc<Watch>, UnboundedReceiver<Kept>, Client) {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..10)).await;
    let (kept, receiver) = unbounded_channel();
    let (keep_one, under_way, most) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let watch = Arc::new(Watch { keep_one, kept, under_way, most });
    let client = watch.client(&world).await;
    (world, watch, receiver, client)
}

async fn committed(world: &World) -> u64 {
    world.client.admin().describe_group("g").await.unwrap().offsets[0].offset.value()
}

#[tokio::test]
async fn a_late_commit_does_not_undo_a_newer_one() {
    let (world, watch, mut kept, client) = watched().await;
    let builder = client.consumer().group("g").subscribe(["events"]).max_poll_records(1);
    let mut member = Member::join(builder.session_timeout(Duration::from_secs(600))).await;
    assert_eq!(poll(&mut member.consumer, 2).await, [(0, 0), (0, 1)]);
    watch.keep_one.store(true, Ordering::SeqCst);
    member.consumer.commit().await.unwrap(); // Over another connection.
    assert_eq!(committed(&world).await, 2);
    assert_eq!(read(&mut member.consumer, 3).await.len(), 3);
    member.consumer.commit().await.unwrap();
    let late = tokio::time::timeout(LONG, kept.recv()).await.unwrap().unwrap().arrive().await;
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
    let (world, watch, _kept, client) = watched().await;
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
    assert_eq!(watch.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_instance_that_replaces_a_killed_one_can_commit() {
    let (world, _watch, _kept, client) = watched().await;
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
