//! `topic create NAME[:PARTITIONS]...`.

use super::config_help;
use crate::options::{OutputForm, key_value};
use crate::output::{StdoutWriter, message_of, stderr_line};
use crate::session::Session;
use anyhow::ensure;
use clap::Args;
use grower_client::ids::TopicId;
use grower_client::{AdminError, ErrorCode, TopicSpec};
use std::io::Write;
use std::str::FromStr;

/// Create topics
///
/// Topics are created one by one. A created topic is durable.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{}

JSON: {{\"topic\",\"id\",\"created\"}} for each topic; id is null and created false for a topic that existed already.

Examples:
  grower-cli topic create events:3 audit
  grower-cli topic create metrics:8 --config retention.ms=1d --config segment.bytes=64MiB", config_help()))]
pub struct CreateTopicCommand {
    /// Names, each with its number of partitions [default: 1]
    #[arg(required = true, value_name = "NAME[:PARTITIONS]")]
    topics: Vec<TopicArgument>,
    /// Replicas of each partition [default: 3, or the number of brokers if there are fewer]
    #[arg(long, value_name = "N")]
    replication_factor: Option<u32>,
    /// A config that differs from the default; may be repeated
    #[arg(long = "config", value_name = "K=V", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Succeed if a topic exists already, and leave it unchanged
    #[arg(long)]
    if_not_exists: bool,
}

/// `NAME[:PARTITIONS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TopicArgument {
    name: String,
    partitions: u32,
}

impl FromStr for TopicArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, partitions) = match text.rsplit_once(':') {
            None => (text, 1),
            Some((name, number)) => match number.parse() {
                Ok(partitions) if 0 < partitions => (name, partitions),
                _ => return Err("write the number of partitions as in events:3, at least 1".to_owned()),
            },
        };
        Ok(Self { name: name.to_owned(), partitions })
    }
}

impl TopicArgument {
    /// Adds the topic's name to an error that does not contain it.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let (name, text) = (&self.name, error.to_string());
        let ways = [format!("topic {name} "), format!("topic name {name} "), format!("{name:?}")];
        if ways.iter().any(|way| text.contains(way)) { error } else { error.context(name.clone()) }
    }
}

impl CreateTopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut out = StdoutWriter::open();
        let mut refused = 0;
        for topic in &self.topics {
            match self.create(session, topic).await {
                Ok(id) => print_created(&mut out, session.output, topic, id)?,
                Err(error) if self.topics.len() == 1 => return Err(topic.explain(error)),
                Err(error) => {
                    refused += 1;
                    stderr_line(format_args!("error: {}", message_of(&topic.explain(error))));
                }
            }
        }
        ensure!(refused == 0, "{refused} of {} topics were not created", self.topics.len());
        Ok(())
    }

    /// Creates the topic and returns its id; none if it existed already.
    async fn create(&self, session: &Session, topic: &TopicArgument) -> anyhow::Result<Option<TopicId>> {
        let mut spec = TopicSpec::partitions(topic.partitions);
        if let Some(factor) = self.replication_factor {
            spec = spec.replication_factor(factor);
        }
        for (key, value) in &self.configs {
            spec = spec.config(key.as_str(), value.as_str());
        }
        match session.client.admin().create_topic(&topic.name, spec).await {
            Ok(id) => Ok(Some(id)),
            Err(error) if self.if_not_exists && is_there_already(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_there_already(error: &AdminError) -> bool {
    error.code() == Some(ErrorCode::TopicExists)
}

fn print_created(
    out: &mut StdoutWriter,
    output: OutputForm,
    topic: &TopicArgument,
    id: Option<TopicId>,
) -> anyhow::Result<()> {
    let created = id.is_some();
    match output {
        OutputForm::Json => {
            let id = id.map(|id| id.to_string());
            out.json(&serde_json::json!({ "topic": topic.name, "id": id, "created": created }))?;
        }
        OutputForm::Table if created => writeln!(out, "created {}({})", topic.name, topic.partitions)?,
        OutputForm::Table => writeln!(out, "{} exists already", topic.name)?,
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_one_partition_by_default() {
        let argument = |name: &str, partitions| Ok(TopicArgument { name: name.to_owned(), partitions });
        assert_eq!("events".parse::<TopicArgument>(), argument("events", 1));
        assert_eq!("events:3".parse::<TopicArgument>(), argument("events", 3));
        for bad in ["events:", "events:0", "events:-1", "events:x", "events:99999999999"] {
            assert!(bad.parse::<TopicArgument>().is_err(), "{bad}");
        }
    }
}
