//! Consumers that ask for records and then never read: the broker closes them after a while, and others come.

use super::stream::BATCHED;
use crate::bench::deaf::Deaf;
use crate::bench::site::Site;
use crate::soak::stop::Stop;
use crate::soak::tally::Tally;
use grower_client::{Client, StartFrom};
use std::time::Duration;

const CONSUMERS: usize = 5;
/// Longer than the broker waits for somebody to read.
const VISIT: Duration = Duration::from_secs(90);

pub(super) async fn run(site: &Site, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let mut goes_on = true;
    while goes_on {
        let (deaf, mut consumers) = (Deaf::default(), Vec::new());
        for _ in 0..CONSUMERS {
            let builder = Client::builder().transport(deaf.clone()).bootstrap([site.address.as_str()]);
            let client = builder.connect().await?;
            let builder = client.consumer().assign([(BATCHED, 0)]).from(StartFrom::Beginning);
            consumers.push(builder.build().await?);
        }
        tally.stuck.add(CONSUMERS as u64);
        goes_on = stop.sleep(VISIT).await;
        drop(consumers);
        deaf.hang_up();
    }
    Ok(())
}
