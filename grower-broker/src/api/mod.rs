//! Handles requests, over whichever wire they come. The API knows no sockets: an answer goes to an [`Outbox`], at once
//! or when the wait of the request ends.

mod answer;
mod backup;
mod broker;
mod burst;
mod damage;
mod fence;
mod fetch;
mod fetch_session;
mod groups;
mod losses;
mod offsets;
mod partition_read;
mod peer;
mod permit;
mod produce;
mod producers;
mod segments;
mod settings;
mod topics;
mod trim;

pub(crate) use answer::{Answer, Outbox};
pub(crate) use burst::Burst;
pub use fetch_session::fuzzed::fetch_session_actions;
pub(crate) use peer::Peer;
pub(crate) use permit::{InFlightLimit, Permit, decoded};

use crate::health::Health;
use crate::metrics::{RequestClass, RequestTimer};
use crate::state::BrokerState;
use bytes::BytesMut;
use damage::DamageChecks;
use fetch_session::FetchSessions;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grower_protocol::ids::GroupId;
use grower_protocol::message::{Failure, Feature, Hello, HelloAnswer, Request, Response};
use grower_protocol::wire::Correlation;
use producers::ProducerIds;
use std::sync::Arc;

/// The handlers of all requests.
pub(crate) struct Api {
    state: Arc<BrokerState>,
    producer_ids: ProducerIds,
    damage_checks: DamageChecks,
    sessions: Arc<FetchSessions>,
}

/// A request without its message.
pub(crate) struct RequestContext {
    pub(crate) correlation: Correlation,
    pub(crate) permit: Permit,
    pub(crate) attachment: BytesMut,
    pub(crate) peer: Arc<Peer>,
}

/// The answer to a request, or why it failed as a whole.
type Answered = Result<Response, Failure>;

impl Api {
    pub(crate) fn new(state: Arc<BrokerState>) -> Self {
        let sessions = Arc::new(FetchSessions::new(state.clone()));
        let job = FetchSessions::run(Arc::downgrade(&sessions), state.memory.clone(), state.stop.clone());
        state.tasks.spawn_until(&state.stop, "the fetch sessions job", job);
        Self { state, producer_ids: ProducerIds::default(), damage_checks: DamageChecks::default(), sessions }
    }

    pub(crate) fn state(&self) -> &Arc<BrokerState> {
        &self.state
    }

    /// Handles one request. A row names the metric that its time counts towards, and its handler. Handlers of the first
    /// block answer by themselves, with the burst or later. All others run as tasks: they touch metadata, groups or the
    /// disk.
    pub(crate) fn handle(self: &Arc<Self>, request: Request, call: RequestContext, burst: &mut Burst) {
        if let Err(failure) = request.check_parts() {
            self.state.health.metrics().request_failed(failure.code);
            return burst.answer(call.correlation, &Response::Failed(failure), call.permit);
        }
        use RequestClass as Class;
        // A timer ends when it is dropped: here, or with the reply.
        let timer = |class| RequestTimer::start(self.state.health.metrics(), class);
        let api = || self.clone();
        // Requests of one connection change a group in the order in which they were sent.
        let turn = |group: &GroupId| self.state.groups.enter(group);
        let (class, answer): (RequestClass, BoxFuture<'static, Answered>) = match request {
            Request::Produce(ask) => return self.produce(timer(Class::produce(ask.acks)), ask, call, burst),
            Request::Fetch(ask) => return self.fetch(timer(Class::Fetch), ask, call, burst),
            Request::FetchSession(ask) => return self.fetch_session(timer(Class::Fetch), ask, call, burst),
            Request::Heartbeat(beat) => return self.heartbeat(timer(Class::Heartbeat), beat, call, burst),
            Request::Hello(ask) => return self.hello(timer(Class::Admin), &ask, call, burst),
            Request::ReportDamage(ask) => return self.report_damage(timer(Class::Admin), ask, call, burst),

            Request::Metadata(ask) => (Class::Metadata, api().metadata(ask).boxed()),
            Request::InitProducer(ask) => (Class::InitProducer, api().init_producer(ask).boxed()),
            Request::FenceProducer(ask) => (Class::FenceProducer, api().fence_producer(ask).boxed()),
            Request::ListProducers { after, most } => (Class::Admin, api().list_producers(after, most).boxed()),
            Request::DeleteProducer(name) => (Class::Admin, api().delete_producer(name).boxed()),
            Request::DescribeProducer(name) => (Class::Admin, api().describe_producer(name).boxed()),
            Request::ListOffsets(ask) => (Class::ListOffsets, api().list_offsets(ask).boxed()),

            Request::CommitOffsets(ask) => (Class::CommitOffsets, api().commit_offsets(turn(&ask.group), ask).boxed()),
            Request::StartOffsets(ask) => (Class::CommitOffsets, api().start_offsets(turn(&ask.group), ask).boxed()),
            Request::FetchOffsets { group, partitions } => {
                (Class::FetchOffsets, api().fetch_offsets(group, partitions).boxed())
            }
            Request::DetachMember { group, member } => {
                (Class::Groups, api().detach_member(turn(&group), group, member).boxed())
            }
            Request::LeaveGroup { group, member } => {
                (Class::Groups, api().leave_group(turn(&group), group, member).boxed())
            }
            Request::DeleteGroup(group) => (Class::Groups, api().delete_group(turn(&group), group).boxed()),
            Request::ListGroups { after, most } => (Class::Groups, api().list_groups(after, most).boxed()),
            Request::DescribeGroup(group) => (Class::Groups, api().describe_group(group).boxed()),
            Request::ListCommits(group) => (Class::Groups, api().list_commits(group).boxed()),
            Request::DescribeGroupMemory => (Class::Groups, api().describe_group_memory().boxed()),

            Request::CreateTopics { topics } => (Class::Admin, api().create_topics(topics).boxed()),
            Request::DeleteTopic(topic) => (Class::Admin, api().delete_topic(topic).boxed()),
            Request::GrowTopic { topic, partitions } => (Class::Admin, api().grow_topic(topic, partitions).boxed()),
            Request::AlterTopic { topic, configs } => (Class::Admin, api().alter_topic(topic, configs).boxed()),
            Request::TrimTopic { topic, before } => (Class::Admin, api().trim_topic(topic, before).boxed()),
            Request::DescribeTopics { topics, segments } => {
                (Class::Admin, api().describe_topics(topics, segments).boxed())
            }
            Request::ListSegments { topic, from } => (Class::Admin, api().list_segments(topic, from).boxed()),
            Request::ListLosses(topic) => (Class::Admin, api().list_losses(topic).boxed()),

            Request::DescribeBroker => (Class::Admin, api().describe_broker().boxed()),
            Request::DescribeSettings => (Class::Admin, api().describe_settings().boxed()),
            Request::AlterSettings { settings } => (Class::Admin, api().alter_settings(settings).boxed()),
            Request::BeginBackup { dir, full } => (Class::Admin, api().begin_backup(dir, full).boxed()),
            Request::DescribeBackup => (Class::Admin, api().describe_backup().boxed()),
            Request::CancelBackup => (Class::Admin, api().cancel_backup().boxed()),
        };
        let (reply, health) = (burst.reply(call.correlation, call.permit, timer(class)), self.state.health.clone());
        self.state.tasks.spawn("a request", async move { reply.send(&response(&health, answer.await)) });
    }

    fn hello(&self, _timer: RequestTimer, hello: &Hello, call: RequestContext, burst: &mut Burst) {
        let ours = Feature::ours();
        let unknown_features = Feature::missing(&hello.features, &ours);
        tracing::debug!(software = hello.software, version = hello.version, "a client introduced itself");
        call.peer.introduced(&hello.software);
        let answer = HelloAnswer {
            software: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: ours,
            unknown_features,
            cluster_id: self.state.node.cluster_id.clone(),
            node: self.state.node.id,
            frame_bytes_max: u32::try_from(self.state.node.frame_bytes_max).unwrap_or(u32::MAX),
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
