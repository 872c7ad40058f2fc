//! Describes this broker: load, disk and traffic.

use super::{Answered, Api};
use grower_protocol::message::{BrokerDescription, DiskDescription, Response};
use std::sync::Arc;

impl Api {
    pub(super) async fn describe_broker(self: Arc<Self>) -> Answered {
        let now = self.state.clock.monotonic();
        let disk = self.state.disk_reserve.usage().map(|usage| DiskDescription {
            total: usage.total,
            free: usage.usable(),
            reserve: usage.keep_free,
            used_up: self.state.rates.used_up(now, usage.free),
        });
        Ok(Response::DescribeBroker(BrokerDescription {
            node: self.state.node.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: self.state.clock.wall(),
            uptime_ms: u64::try_from(self.state.rates.uptime(now).as_millis()).unwrap_or(u64::MAX),
            connections: self.state.health.metrics().connections(),
            memory_used: self.state.memory.used() as u64,
            memory_budget: self.state.memory.total() as u64,
            fsync: self.state.health.metrics().latest_syncs(),
            disk,
            topics: self.state.rates.traffic(now, &self.state.topic_counters()),
        }))
    }
}
