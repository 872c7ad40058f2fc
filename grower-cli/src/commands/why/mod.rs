//! `why TOPIC|GROUP`: why something is stuck or lags, in plain words.
//!
//! Facts are gathered from a broker first; a pure function then decides what they mean, so that every sentence has a
//! test.

mod finding;
mod gather;
mod group;
mod memory;
#[cfg(test)]
mod tests;
mod topic;
mod words;

use crate::groups::group_memory;
use crate::options::OutputForm;
use crate::output::{StdoutWriter, escaped};
use crate::session::Session;
use anyhow::bail;
use clap::Args;
use finding::{FindingStatus, WhyFinding};
use memory::memory_refusal;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Explain why a topic or a group is stuck or lags
///
/// For a group: its lag in each partition, in records and in time, the owner of the partition and since when, and
/// what the group waits for. For a topic: whether writes are refused, which records are damaged, and how far its
/// readers are.
#[derive(Debug, Args)]
#[command(
    after_help = "A line starts with ! if you must act, with .. if something is in progress or lags, and with ok otherwise. If a topic and \
a group share the name, both are explained.

JSON: an array of {\"kind\":\"topic\"|\"group\",\"name\",\"verdict\":\"fine\"|\"waits\"|\"wrong\",\"findings\":[{\"verdict\",\"about\",\"says\"}]}; \
the outer verdict is the worst of the findings.

Examples:
  grower-cli why billing               why does the group lag?
  grower-cli why events                why does the topic accept no records?"
)]
pub struct WhyCommand {
    /// A topic or a consumer group
    #[arg(value_name = "TOPIC|GROUP", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
}

impl WhyCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let admin = session.client.admin();
        let topic = gather::topic(&admin, &self.name).await?.map(|facts| ("topic", facts.findings()));
        let refused = group_memory(&admin).await?.and_then(|memory| memory_refusal(&self.name, &memory));
        let group = gather::group(&admin, &self.name).await?.map(|facts| facts.findings());
        let group: Vec<WhyFinding> = group.into_iter().flatten().chain(refused).collect();
        let group = (!group.is_empty()).then_some(("group", group));
        let explained: Vec<_> = topic.into_iter().chain(group).collect();
        if explained.is_empty() {
            bail!("there is no topic and no group {}; see grower-cli topic list and group list", escaped(&self.name));
        }
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => {
                out.json(&explained.iter().map(|(kind, found)| self.json(kind, found)).collect::<Vec<_>>())?
            }
            OutputForm::Table => {
                explained.iter().flat_map(|(_, found)| found).try_for_each(|finding| print(finding, &mut out))?
            }
        }
        Ok(out.flush()?)
    }

    fn json(&self, kind: &str, findings: &[WhyFinding]) -> Value {
        let finding = |f: &WhyFinding| json!({ "verdict": f.status.name(), "about": f.about, "says": f.says });
        json!({
            "kind": kind,
            "name": self.name,
            "verdict": findings.iter().map(|finding| finding.status).max().unwrap_or(FindingStatus::Fine).name(),
            "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn print(finding: &WhyFinding, out: &mut impl Write) -> io::Result<()> {
    let mark = match finding.status {
        FindingStatus::Fine => "ok",
        FindingStatus::Waits => "..",
        FindingStatus::Wrong => "! ",
    };
    writeln!(out, "{mark} {}: {}", escaped(&finding.about), escaped(&finding.says))
}
