//! The broker itself: its state and its settings.

use super::Admin;
use crate::error::AdminError;
use grower_protocol::message::{BrokerDescription, Request, Response, SettingEntry};

impl Admin {
    /// Describes the broker: memory, disk, syncs, and the traffic of every topic.
    pub async fn describe_broker(&self) -> Result<BrokerDescription, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeBroker, self.cluster.deadline()).await? {
            (_, Response::DescribeBroker(broker)) => Ok(broker),
            (connection, other) => Err(connection.unexpected("describe broker", other).into()),
        }
    }

    /// Lists all settings of the broker, each with its value, the value's source, and whether it can change at runtime.
    pub async fn describe_settings(&self) -> Result<Vec<SettingEntry>, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeSettings, self.cluster.deadline()).await? {
            (_, Response::DescribeSettings(settings)) => Ok(settings),
            (connection, other) => Err(connection.unexpected("describe settings", other).into()),
        }
    }

    /// Changes settings at runtime, all or none; `None` restores the value from the broker's start. A change survives
    /// restarts and overrides file, environment and flags.
    pub async fn alter_settings(
        &self,
        settings: impl IntoIterator<Item = (impl Into<String>, Option<String>)>,
    ) -> Result<(), AdminError> {
        let settings = settings.into_iter().map(|(key, value)| (key.into(), value)).collect();
        self.change("alter settings", Request::AlterSettings { settings }).await
    }
}
