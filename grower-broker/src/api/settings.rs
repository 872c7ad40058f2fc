//! Describes the broker's settings, and changes those that a running broker takes.

use super::{Answered, Api};
use crate::metadata::{Command, Image};
use grower_protocol::message::Response;
use std::sync::Arc;

impl Api {
    pub(super) async fn describe_settings(self: Arc<Self>) -> Answered {
        Ok(Response::DescribeSettings(
            self.state.settings.describe(&self.state.topics.image().settings(self.state.node.id)),
        ))
    }

    /// Makes the change durable, then puts it in force: a setting that was in force once is there after a restart.
    pub(super) async fn alter_settings(self: Arc<Self>, requested: Vec<(String, Option<String>)>) -> Answered {
        let node = self.state.node.id;
        let (settings, changes) = (self.state.settings.clone(), requested.clone());
        let decide = move |image: &Image| {
            settings.check(&image.settings(node), &changes)?;
            Ok(Command::AlterBroker { node, settings: changes.clone() })
        };
        self.state.topics.change(decide).await?;
        self.state.settings.take(|| self.state.topics.image().settings(node));
        for (key, value) in &requested {
            tracing::info!(key, value, "setting changed on request"); // Without a value: it is what the start said.
        }
        Ok(Response::Done)
    }
}
