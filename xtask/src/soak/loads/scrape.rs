//! Repeated requests for health and metrics.

use crate::bench::bench_broker::get;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::Context;
use std::time::Duration;

pub(super) async fn run(http: &str, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    while stop.sleep(Duration::from_millis(500)).await {
        for path in ["/healthz", "/readyz", "/metrics"] {
            get(http, path).await.with_context(|| path)?;
        }
        tally.scrapes.add(1);
    }
    Ok(())
}
