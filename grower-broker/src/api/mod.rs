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
mod size;
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
use crate::metrics::Timer;
use crate::partition::Flushers;
use crate::rates::Rates;
use crate::stall_watchdog::StallWatchdog;
use crate::topic::Topics;
use bytes::BytesMut;
use fetch::FetchForm;
use groups::Arrival;
use grower_protocol::ids::NodeId;
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

impl Api {
    /// Handles one request. What can be answered at once goes to the burst, all else answers by itself later.
    pub(crate) fn handle(self: &Arc<Self>, request: Request, call: Call, burst: &mut Burst) {
        if let Err(failure) = size::check(&request) {
            self.health.metrics().request_failed(failure.code);
            return burst.answer(call.correlation, &Response::Failed(failure), call.permit);
        }
        let timer = Timer::start(self.health.metrics(), &request); // Ends when dropped: here, or with the reply.
        let arrival = self.arrival(&request);
        match request {
            Request::Produce(produce) => self.produce(produce, call, timer, burst),
            Request::Fetch(fetch) => self.fetch((fetch.into(), FetchForm::Unchecked), call, timer, burst),
            Request::FetchAfter(fetch) => self.fetch((fetch, FetchForm::Checked), call, timer, burst),
            Request::Hello(hello) => {
                call.peer.introduced(&hello.software);
                burst.answer(call.correlation, &Response::Hello(self.hello(&hello)), call.permit);
            }
            Request::Heartbeat(beat) => {
                let (reply, api) = (burst.reply(call.correlation, call.permit, timer), self.clone());
                let held = async move { api.heartbeat(&beat, arrival, &call.peer, reply).await };
                self.tasks.spawn("a heartbeat", held);
            }
            Request::ReportDamage(report) => {
                let (reply, api) = (burst.reply(call.correlation, call.permit, timer), self.clone());
                self.tasks.spawn("a report of damage", async move { api.answer_damage(report, reply).await });
            }
            other => {
                let (reply, api) = (burst.reply(call.correlation, call.permit, timer), self.clone());
                self.tasks.spawn("a request", async move {
                    let response = api.answer(other, arrival).await;
                    reply.send(&response);
                });
            }
        }
    }

    /// Requests that touch metadata, groups or the disk: each runs as a task of its own.
    async fn answer(self: Arc<Self>, request: Request, arrival: Arrival) -> Response {
        let health = self.health.clone();
        let answered = match request {
            Request::Metadata(metadata) => self.metadata(metadata).await,
            Request::InitProducer => self.init_producer().await,
            Request::ListOffsets(list) => self.list_offsets(list).await,
            Request::CreateTopics { topics } => self.create_topics(topics).await,
            Request::DeleteTopic(topic) => self.delete_topic(topic).await,
            Request::GrowTopic { topic, partitions } => self.grow_topic(topic, partitions).await,
            Request::AlterTopic { topic, configs } => self.alter_topic(topic, configs).await,
            Request::DescribeTopics { topics, segments } => self.describe_topics(topics, segments).await,
            Request::ListLosses(topic) => self.list_losses(topic).await,
            Request::ListSegments { topic, from } => self.list_segments(&topic, from),
            Request::TrimTopic { topic, before } => self.trim_topic(topic, before).await,
            Request::DescribeBroker => Ok(self.describe_broker()),
            Request::DescribeSettings => Ok(self.describe_settings()),
            Request::AlterSettings { settings } => self.alter_settings(settings).await,
            Request::BeginBackup { dir, full } => self.begin_backup(&dir, full),
            Request::DescribeBackup => Ok(Response::DescribeBackup(self.backups.describe())),
            Request::CancelBackup => {
                self.backups.cancel();
                Ok(Response::Done)
            }
            Request::LeaveGroup { .. }
            | Request::StepOut { .. }
            | Request::CommitOffsets(_)
            | Request::CommitPositions(_)
            | Request::FetchOffsets { .. }
            | Request::FetchPositions { .. }
            | Request::StartPositions(_)
            | Request::ListGroups { .. }
            | Request::DescribeGroup(_)
            | Request::DeleteGroup(_)
            | Request::ListCommits(_)
            | Request::DescribeGroupMemory => self.group_request(request, arrival).await,
            Request::Hello(_)
            | Request::Produce(_)
            | Request::Fetch(_)
            | Request::FetchAfter(_)
            | Request::ReportDamage(_)
            | Request::Heartbeat(_) => unreachable!("handled elsewhere"),
        };
        response(&health, answered)
    }

    fn hello(&self, hello: &Hello) -> HelloAnswer {
        let ours = Feature::ours();
        let unknown_features = Feature::missing(&hello.features, &ours);
        tracing::debug!(software = hello.software, version = hello.version, "a client introduced itself");
        HelloAnswer {
            software: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: ours,
            unknown_features,
            cluster_id: self.node.cluster_id.clone(),
            node: self.node.id,
            frame_bytes_max: u32::try_from(self.node.frame_bytes_max).unwrap_or(u32::MAX),
        }
    }
}

/// The answer to a request as a whole; counts it if it failed.
fn response(health: &Health, answered: Result<Response, Failure>) -> Response {
    answered.unwrap_or_else(|failure| {
        health.metrics().request_failed(failure.code);
        Response::Failed(health.explain(failure))
    })
}
