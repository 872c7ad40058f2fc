//! Clients that are there and want nothing.

use crate::bench::site::Site;
use crate::soak::stop::Stop;
use std::time::Duration;

const CLIENTS: usize = 100;

pub(super) async fn run(site: &Site, mut stop: Stop) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(site.client().await?);
    }
    while stop.sleep(Duration::from_secs(1)).await {}
    drop(clients);
    Ok(())
}
