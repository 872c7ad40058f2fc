//! How this broker is doing.

use super::{Answered, Api};
use grower_protocol::message::{BrokerDescription, DiskDescription, Response};
use std::sync::Arc;

impl Api {
    pub(super) async fn describe_broker(self: Arc<Self>) -> Answered {
        let disk = self.disk_reserve.usage().map(|usage| DiskDescription {
            total: usage.total,
            free: usage.usable(),
            reserve: usage.keep_free,
            used_up: self.rates.used_up(usage.free),
        });
        Ok(Response::DescribeBroker(BrokerDescription {
            node: self.node.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: self.clock.wall(),
            uptime_ms: u64::try_from(self.rates.uptime().as_millis()).unwrap_or(u64::MAX),
            connections: self.health.metrics().connections(),
            memory_used: self.memory.used() as u64,
            memory_budget: self.memory.total() as u64,
            fsync: self.health.metrics().latest_syncs(),
            disk,
            topics: self.rates.traffic(&self.counters()),
        }))
    }
}
