//! Ships the rows of an outbox to a topic, each exactly once and in order, over any number of crashes.
//!
//! ```text
//! outbox 127.0.0.1:9092 orders /var/lib/shop/outbox [TIMEOUT_MS]
//! ```
//!
//! The outbox is a file to which a program appends lines; in a database it is a table, written in the transaction that
//! it tells of. All rows go to partition 0. It prints where it resumes, and ends when all rows are in the log.

use grower_client::{Client, OnFailure, Outcome, ProduceError, Producer, Record};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// The number of rows in one call.
const ROWS: usize = 500;

/// Ships all rows and returns their number. Tries again after each error that may pass.
pub async fn ship(client: &Client, topic: &str, outbox: &Path, timeout: Duration) -> Result<usize, Box<dyn Error>> {
    loop {
        // A new holder of the identity fences the one before, so nothing of an earlier attempt arrives later.
        let builder = client.producer().identity(format!("outbox-{topic}")).delivery_timeout(timeout);
        let builder = builder.on_failure(OnFailure::StopPartition); // No row is written behind one that failed.
        let shipped = match builder.build().await {
            Ok(producer) => ship_rest(&producer, topic, &std::fs::read_to_string(outbox)?).await,
            Err(error) => Err(error),
        };
        match shipped {
            Ok(rows) => return Ok(rows),
            Err(error @ ProduceError::Fenced { .. }) => return Err(error.into()), // Another process ships now.
            Err(error) if error.is_retriable() || error.outcome() == Outcome::Unknown => {
                eprintln!("trying again: {error}");
            }
            Err(error) => return Err(error.into()), // The next row cannot be shipped.
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Ships the rows that no earlier holder has written. After an error the log has all rows up to some row, in order.
async fn ship_rest(producer: &Producer, topic: &str, outbox: &str) -> Result<usize, ProduceError> {
    let last = producer.last_written(topic, 0).await?;
    let shipped = last.map_or(0, |last| last.sequence.to_wire() as usize + 1); // Row n has the sequence n.
    let rows: Vec<&str> = outbox.split_inclusive('\n').filter_map(|row| row.strip_suffix('\n')).collect();
    println!("resuming at row {shipped} of {}", rows.len());
    for rows in rows.get(shipped..).unwrap_or_default().chunks(ROWS) {
        let records = rows.iter().map(|row| Record::new(topic).partition(0).value(row.to_string()));
        if let Err(error) = producer.send_all(records).await {
            return Err(error.failures().next().expect("a row failed").1.clone());
        }
    }
    Ok(rows.len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, topic, outbox, timeout) = match &arguments[..] {
        [address, topic, outbox] => (address, topic, outbox, 120_000),
        [address, topic, outbox, timeout] => (address, topic, outbox, timeout.parse()?),
        _ => return Err("usage: outbox ADDRESS TOPIC FILE [TIMEOUT_MS]".into()),
    };
    let timeout = Duration::from_millis(timeout);
    let builder = Client::builder().bootstrap([address.as_str()]).request_timeout(timeout);
    let client = builder.wait_for_broker(Duration::from_secs(60)).connect().await?;
    println!("shipped {} rows", ship(&client, topic, Path::new(outbox), timeout).await?);
    Ok(())
}
