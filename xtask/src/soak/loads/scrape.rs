//! Somebody who looks at health and metrics all the time.

use crate::soak::stop::Stop;
use crate::soak::tally::Tally;
use anyhow::{Context, ensure};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn run(http: &str, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    while stop.sleep(Duration::from_millis(500)).await {
        for path in ["/healthz", "/readyz", "/metrics"] {
            get(http, path).await.with_context(|| path)?;
        }
        tally.scrapes.add(1);
    }
    Ok(())
}

async fn get(http: &str, path: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(http).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}
