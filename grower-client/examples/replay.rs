//! Replays the records of a time range: copies them to another topic with their keys, headers and times, in order.
//!
//! ```text
//! replay 127.0.0.1:9092 orders orders-again 1700000000000 1700003600000
//! ```
//!
//! The times are in milliseconds since 1970, the end exclusive. A run that fails may have copied a part: start it again
//! with an empty target topic. Copies keep their times, so give the target a `retention.ms` that covers them.

use grower_client::ids::Timestamp;
use grower_client::{Client, ConsumeError, OnGap, StartFrom};
use std::error::Error;
use std::ops::Range;

/// Copies the records of `source` with these times to `target`; returns their number.
pub async fn replay(address: &str, source: &str, target: &str, times: Range<Timestamp>) -> Result<u64, Box<dyn Error>> {
    let client = Client::connect(address).await?;
    let producer = client.producer().build().await?;
    let source = client.consumer().subscribe([source]).from(StartFrom::Time(times.start));
    let mut consumer = source.on_gap(|_| OnGap::Report).build().await?;
    let mut copied = 0;
    let mut records = consumer.read_to_time(times.end).await?;
    while let Some(record) = records.next().await {
        let record = match record {
            Err(ConsumeError::Gap(gap)) => return Err(format!("the range is not complete: {gap}").into()),
            record => record?,
        };
        // Records that were not written in the order of their times lie among the others.
        if times.contains(&record.timestamp) {
            drop(producer.enqueue(record.to_record(target)).await?); // Waits while the memory is full.
            copied += 1;
        }
    }
    producer.flush().await?; // Fails if any record failed.
    Ok(copied)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, source, target, start, end] = &arguments[..] else {
        return Err("usage: replay ADDRESS SOURCE TARGET START_MS END_MS".into());
    };
    let times = Timestamp::from_millis(start.parse()?)..Timestamp::from_millis(end.parse()?);
    println!("copied {} records", replay(address, source, target, times).await?);
    Ok(())
}
