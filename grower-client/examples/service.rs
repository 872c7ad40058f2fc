//! Takes orders over TCP, one a line, and answers each when it is durable. Hundreds of requests share one producer.
//!
//! ```text
//! service 127.0.0.1:9092 orders 127.0.0.1:7000
//! ```
//!
//! Each line gets one line back, within two seconds: `ok PARTITION OFFSET`, `retry REASON` if the order is certainly not
//! in the log and may succeed later, `refused REASON` if it never will, or `unknown REASON` if it may be in the log.

use grower_client::{Client, Outcome, Producer, Record};
use std::error::Error;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The time for one order: lookup of the topic, waiting for memory, and delivery.
const LIMIT: Duration = Duration::from_secs(2);

/// The time that the program waits for the broker at its start.
const BROKER_WAIT: Duration = Duration::from_secs(60);

/// Serves until the listener fails.
pub async fn serve(address: &str, topic: &str, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let client = Client::builder().bootstrap([address]).wait_for_broker(BROKER_WAIT).connect().await?;
    let producer = client.producer().build().await?;
    loop {
        let (connection, _) = listener.accept().await?;
        let (producer, topic) = (producer.clone(), topic.to_owned());
        tokio::spawn(async move {
            if let Err(error) = converse(connection, &producer, &topic).await {
                eprintln!("a client left: {error}");
            }
        });
    }
}

async fn converse(mut connection: TcpStream, producer: &Producer, topic: &str) -> std::io::Result<()> {
    let (read, mut write) = connection.split();
    let mut orders = BufReader::new(read).lines();
    while let Some(order) = orders.next_line().await? {
        let answer = take(producer, Record::new(topic).value(order)).await;
        write.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

async fn take(producer: &Producer, order: Record) -> String {
    match producer.send_within(order, LIMIT).await {
        Ok(ack) => format!("ok {} {}", ack.partition, ack.offset.expect("an acknowledged record has an offset")),
        Err(error) if error.outcome() == Outcome::Unknown => format!("unknown {error}"),
        Err(error) if error.is_retriable() => format!("retry {error}"),
        Err(error) => format!("refused {error}"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, topic, listen] = &arguments[..] else {
        return Err("usage: service ADDRESS TOPIC LISTEN".into());
    };
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(address, topic, listener).await
}
