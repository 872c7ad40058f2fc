//! The broker itself: how it is doing, and its settings.

use super::Admin;
use crate::error::AdminError;
use grower_protocol::message::{BrokerDescription, Request, Response, SettingEntry};

impl Admin {
    /// How the broker is doing: memory, disk, syncs, and the traffic of every topic.
    pub async fn describe_broker(&self) -> Result<BrokerDescription, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeBroker).await? {
            (_, Response::DescribeBroker(broker)) => Ok(broker),
            (connection, other) => Err(connection.unexpected("describe broker", other).into()),
        }
    }

    /// Every setting of the broker, with its value, where that comes from, and whether it can change without a restart.
    pub async fn describe_settings(&self) -> Result<Vec<SettingEntry>, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeSettings).await? {
            (_, Response::DescribeSettings(settings)) => Ok(settings),
            (connection, other) => Err(connection.unexpected("describe settings", other).into()),
        }
    }

    /// Changes settings while the broker runs, all or none; `None` goes back to what its start said. A change outlives
    /// restarts, and goes before file, environment and flags.
    pub async fn alter_settings(
        &self,
        settings: impl IntoIterator<Item = (impl Into<String>, Option<String>)>,
    ) -> Result<(), AdminError> {
        let settings = settings.into_iter().map(|(key, value)| (key.into(), value)).collect();
        self.change("alter settings", Request::AlterSettings { settings }).await
    }
}
