//! What the broker does for a request, whoever asks and over whichever wire. It knows no sockets: an answer goes to an
//! [`Outbox`], now or when what it waits for has come.

mod backup;
mod broker;
mod burst;
mod damage;
mod fetch;
mod groups;
mod losses;
mod offsets;
mod peer;
mod produce;
mod segments;
mod settings;
mod topics;
mod trim;

pub(crate) use burst::Burst;
pub(crate) use damage::DamageChecks;
pub(crate) use peer::Peer;
pub(crate) use topics::ProducerIds;

use crate::background::Tasks;
use crate::backup::Backups;
use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::disk_reserve::DiskReserve;
use crate::group::Groups;
use crate::health::Health;
use crate::listener::Permit;
use crate::memory::Memory;
use crate::metrics::{Timer, Work};
use crate::partition::Flushers;
use crate::rates::Rates;
use crate::stall_watchdog::StallWatchdog;
use crate::topic::Topics;
use bytes::BytesMut;
use fetch::FetchForm;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grower_protocol::ids::{GroupId, NodeId};
use grower_protocol::message::{Failure, Feature, Hello, HelloAnswer, Request, Response};
use grower_protocol::wire::Correlation;
use grower_storage::disk::DirLock;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Everything that requests reach.
pub(crate) struct Api {
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) flushers: Arc<Flushers>,
    pub(crate) stall_watchdog: Arc<StallWatchdog>,
    pub(crate) disk_reserve: DiskReserve,
    pub(crate) rates: Rates,
    pub(crate) backups: Arc<Backups>,
    pub(crate) memory: Memory,
    pub(crate) health: Health,
    pub(crate) clock: Arc<BrokerClock>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) damage_checks: DamageChecks,
    pub(crate) node: Node,
    pub(crate) settings: Arc<LiveSettings>,
    /// Set when the broker stops: whoever waits for something gives up.
    pub(crate) stop: CancellationToken,
    /// Requests that are answered later, which a stop waits for.
    pub(crate) tasks: Tasks,
    /// The data directory is ours as long as any request may still write to it.
    pub(crate) _lock: DirLock,
}

/// Who this broker is, for those who ask.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) cluster_id: String,
    /// Where clients reach it; empty if it listens nowhere.
    pub(crate) address: String,
    pub(crate) frame_bytes_max: usize,
}

/// The rest of a request beside its message.
pub(crate) struct Call {
    pub(crate) correlation: Correlation,
    pub(crate) permit: Permit,
    pub(crate) attachment: BytesMut,
    pub(crate) peer: Arc<Peer>,
}

/// The answer to a request, or why it failed as a whole.
type Answered = Result<Response, Failure>;

impl Api {
    /// Handles one request. A row names the metric that its time counts towards, and its handler. Handlers of the first block
    /// answer by themselves, with the burst or later. All others run as tasks: they touch metadata, groups or the disk.
    pub(crate) fn handle(self: &Arc<Self>, request: Request, call: Call, burst: &mut Burst) {
        if let Err(failure) = request.check_parts() {
            self.health.metrics().request_failed(failure.code);
            return burst.answer(call.correlation, &Response::Failed(failure), call.permit);
        }
        let timer = |work| Timer::start(self.health.metrics(), work); // Ends when dropped: here, or with the reply.
        let api = || self.clone();
        // Requests of one connection change a group in the order in which they were sent.
        let turn = |group: &GroupId| self.groups.enter(group);
        let (work, answer): (Work, BoxFuture<'static, Answered>) = match request {
            Request::Produce(ask) => return self.produce(timer(Work::produce(ask.acks)), ask, call, burst),
            Request::Fetch(ask) => {
                return self.fetch(timer(Work::Fetch), ask.into(), FetchForm::Unchecked, call, burst);
            }
            Request::FetchAfter(ask) => return self.fetch(timer(Work::Fetch), ask, FetchForm::Checked, call, burst),
            Request::Heartbeat(beat) => return self.heartbeat(timer(Work::Heartbeat), beat, call, burst),
            Request::Hello(ask) => return self.hello(timer(Work::Admin), &ask, call, burst),
            Request::ReportDamage(ask) => return self.report_damage(timer(Work::Admin), ask, call, burst),

            Request::Metadata(ask) => (Work::Metadata, api().metadata(ask).boxed()),
            Request::InitProducer => (Work::InitProducer, api().init_producer().boxed()),
            Request::ListOffsets(ask) => (Work::ListOffsets, api().list_offsets(ask).boxed()),

            Request::CommitOffsets(ask) => (Work::CommitOffsets, api().commit(turn(&ask.group), ask.into()).boxed()),
            Request::CommitPositions(ask) => (Work::CommitOffsets, api().commit(turn(&ask.group), ask.into()).boxed()),
            Request::StartPositions(ask) => (Work::CommitOffsets, api().start_positions(turn(&ask.group), ask).boxed()),
            Request::FetchOffsets { group, partitions } => {
                (Work::FetchOffsets, api().fetch_offsets(group, partitions).boxed())
            }
            Request::FetchPositions { group, partitions } => {
                (Work::FetchOffsets, api().fetch_positions(group, partitions).boxed())
            }
            Request::StepOut { group, member } => (Work::Groups, api().step_out(turn(&group), group, member).boxed()),
            Request::LeaveGroup { group, member } => {
                (Work::Groups, api().leave_group(turn(&group), group, member).boxed())
            }
            Request::DeleteGroup(group) => (Work::Groups, api().delete_group(turn(&group), group).boxed()),
            Request::ListGroups { after, most } => (Work::Groups, api().list_groups(after, most).boxed()),
            Request::DescribeGroup(group) => (Work::Groups, api().describe_group(group).boxed()),
            Request::ListCommits(group) => (Work::Groups, api().list_commits(group).boxed()),
            Request::DescribeGroupMemory => (Work::Groups, api().describe_group_memory().boxed()),

            Request::CreateTopics { topics } => (Work::Admin, api().create_topics(topics).boxed()),
            Request::DeleteTopic(topic) => (Work::Admin, api().delete_topic(topic).boxed()),
            Request::GrowTopic { topic, partitions } => (Work::Admin, api().grow_topic(topic, partitions).boxed()),
            Request::AlterTopic { topic, configs } => (Work::Admin, api().alter_topic(topic, configs).boxed()),
            Request::TrimTopic { topic, before } => (Work::Admin, api().trim_topic(topic, before).boxed()),
            Request::DescribeTopics { topics, segments } => {
                (Work::Admin, api().describe_topics(topics, segments).boxed())
            }
            Request::ListSegments { topic, from } => (Work::Admin, api().list_segments(topic, from).boxed()),
            Request::ListLosses(topic) => (Work::Admin, api().list_losses(topic).boxed()),

            Request::DescribeBroker => (Work::Admin, api().describe_broker().boxed()),
            Request::DescribeSettings => (Work::Admin, api().describe_settings().boxed()),
            Request::AlterSettings { settings } => (Work::Admin, api().alter_settings(settings).boxed()),
            Request::BeginBackup { dir, full } => (Work::Admin, api().begin_backup(dir, full).boxed()),
            Request::DescribeBackup => (Work::Admin, api().describe_backup().boxed()),
            Request::CancelBackup => (Work::Admin, api().cancel_backup().boxed()),
        };
        let (reply, health) = (burst.reply(call.correlation, call.permit, timer(work)), self.health.clone());
        self.tasks.spawn("a request", async move { reply.send(&response(&health, answer.await)) });
    }

    fn hello(&self, _timer: Timer, hello: &Hello, call: Call, burst: &mut Burst) {
        let ours = Feature::ours();
        let unknown_features = Feature::missing(&hello.features, &ours);
        tracing::debug!(software = hello.software, version = hello.version, "a client introduced itself");
        call.peer.introduced(&hello.software);
        let answer = HelloAnswer {
            software: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: ours,
            unknown_features,
            cluster_id: self.node.cluster_id.clone(),
            node: self.node.id,
            frame_bytes_max: u32::try_from(self.node.frame_bytes_max).unwrap_or(u32::MAX),
        };
        burst.answer(call.correlation, &Response::Hello(answer), call.permit);
    }
}

/// The answer to a request as a whole; counts it if it failed.
fn response(health: &Health, answered: Answered) -> Response {
    answered.unwrap_or_else(|failure| {
        health.metrics().request_failed(failure.code);
        Response::Failed(health.explain(failure))
    })
}
