//! Keeps the newest value of each key of a topic in memory: warms up with all that is there, then follows.
//!
//! ```text
//! tail 127.0.0.1:9092 prices [CHANGES]
//! ```
//!
//! It prints the size of the cache when it is warm, and then each change. It ends after CHANGES changes, if given.

use bytes::Bytes;
use grower_client::{Client, ConsumerRecord};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

type Cache = HashMap<Bytes, Bytes>;

/// Follows until that many changes came after the warm-up; returns the cache.
pub async fn tail(address: &str, topic: &str, changes: u64, out: &mut impl Write) -> Result<Cache, Box<dyn Error>> {
    // The broker may start, or start again, at the same time.
    let client = Client::builder().bootstrap([address]).wait_for_broker(Duration::from_secs(30)).connect().await?;
    let mut consumer = client.consumer().subscribe([topic]).build().await?;
    let mut cache = Cache::new();
    let mut present = consumer.read_to_end().await?;
    while let Some(record) = present.next().await {
        apply(&mut cache, record?);
    }
    writeln!(out, "warm with {} keys, {} records behind", cache.len(), consumer.total_lag().await?)?;
    for _ in 0..changes {
        let Some(record) = consumer.next().await else { break };
        let record = record?;
        writeln!(out, "{:?} = {:?}", record.key, record.value)?;
        apply(&mut cache, record);
    }
    Ok(cache)
}

/// Copies key and value: a record would keep the whole answer of the broker in memory as long as the cache has it.
fn apply(cache: &mut Cache, record: ConsumerRecord) {
    let key = Bytes::copy_from_slice(&record.key.unwrap_or_default());
    match record.value {
        Some(value) => cache.insert(key, Bytes::copy_from_slice(&value)),
        None => cache.remove(&key),
    };
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, topic, changes) = match &arguments[..] {
        [address, topic] => (address, topic, u64::MAX),
        [address, topic, changes] => (address, topic, changes.parse()?),
        _ => return Err("usage: tail ADDRESS TOPIC [CHANGES]".into()),
    };
    let cache = tail(address, topic, changes, &mut std::io::stdout()).await?;
    println!("ended with {} keys", cache.len());
    Ok(())
}
