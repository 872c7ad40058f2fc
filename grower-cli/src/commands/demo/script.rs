//! The steps of the demo, over any client.
//!
//! Each step asks a real broker, and checks each claim before it prints it. The same steps test every way to put a
//! broker together: with files or memory, with sockets or without.

use super::{group, growth, retention, topics};
use anyhow::ensure;
use grower_client::Client;
use std::io::Write;
use std::time::{Duration, Instant};

/// Runs the demo and prints it to `out`. Fails at the first claim that does not hold.
///
/// The broker must be able to create the topics `rainbow` and `sandbox`. It takes a few seconds, most of them spent
/// waiting for the session of a killed consumer to time out.
pub async fn run(client: &Client, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut demo = DemoOutput { client, out, claims: 0 };
    topics::create(&mut demo).await?;
    topics::write_kitties(&mut demo, 0..18).await?;
    topics::describe(&mut demo).await?;
    let after_kill = group::two_members_one_killed(&mut demo).await?;
    group::third_and_fourth_member(&mut demo, after_kill).await?;
    group::second_group(&mut demo).await?;
    retention::by_count_bytes_and_age(&mut demo).await?;
    growth::sandbox_grows(&mut demo).await?;
    let seconds = began.elapsed().as_secs_f64();
    let claims = demo.claims;
    demo.say(format!("\nThe demo is complete: {claims} claims, each checked as it was made, in {seconds:.1} s."))
}

/// How long a step may take to come true.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(15);

/// Prints the demo, and fails at a claim that does not hold.
pub(super) struct DemoOutput<'a> {
    pub(super) client: &'a Client,
    pub(super) out: &'a mut (dyn Write + Send),
    claims: u32,
}

impl DemoOutput<'_> {
    /// Prints a line at once.
    pub(super) fn say(&mut self, line: impl AsRef<str>) -> anyhow::Result<()> {
        writeln!(self.out, "{}", line.as_ref())?;
        Ok(self.out.flush()?)
    }

    /// Prints a claim, or fails if it does not hold.
    pub(super) fn claim(&mut self, holds: bool, claim: impl AsRef<str>) -> anyhow::Result<()> {
        ensure!(holds, "the demo fails here, this does not hold: {}", claim.as_ref());
        self.claims += 1;
        self.say(format!("  ok  {}", claim.as_ref()))
    }
}
