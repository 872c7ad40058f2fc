//! A batch that names the end of its partition is written there or nowhere.

mod support {
    pub mod raw;
}

use grower_protocol::batch::ProducerStamp;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, ProducerEpoch, ProducerId, Sequence, TopicId};
use grower_protocol::message::*;
use support::raw::*;
use tokio::io::DuplexStream;

async fn send_at(client: &mut Raw<DuplexStream>, topic: TopicId, batch: &[u8], end: u64) -> Part<Produced> {
    let partition = ProducePartition {
        topic,
        partition: PARTITION,
        length: batch.len() as u32,
        expected_end: Some(Offset::new(end)),
    };
    let produce = Produce { acks: Acks::All, timeout_ms: 60_000, partitions: vec![partition] };
    match client.ask_with(&Request::Produce(produce), batch).await.0 {
        Response::Produce(parts) => parts[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn numbered(id: ProducerId, sequence: i32, values: &[&str]) -> Vec<u8> {
    let base_sequence = Sequence::from_wire(sequence);
    batch_of(Codec::None, values, Some(ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence })).to_vec()
}

#[tokio::test]
async fn a_batch_is_written_at_the_end_that_it_expects_or_its_failure_names_the_end() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    assert_eq!(send_at(&mut client, topic, &batch(&["0", "1"]), 0).await.unwrap().base_offset, Offset::ZERO);
    for expected in [0, 1, 3, 1 << 40, i64::MAX as u64] {
        let refused = send_at(&mut client, topic, &batch(&["no"]), expected).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnexpectedEnd);
        assert_eq!(refused.context, Some(FailureContext::LogEnd(Offset::new(2))));
        assert_eq!(refused.detail, format!("the log ends at offset 2, the batch expects {expected}"));
    }
    assert_eq!(send_at(&mut client, topic, &batch(&["2"]), 2).await.unwrap().base_offset, Offset::new(2));
    assert_eq!(client.values(topic, 0).await, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_retry_succeeds_although_the_partition_has_grown() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    let id = client.producer_id().await;
    let first = numbered(id, 0, &["mine"]);
    send_at(&mut client, topic, &first, 0).await.unwrap();
    client.produce(topic, Acks::All, &batch(&["another's"])).await.unwrap();
    assert_eq!(send_at(&mut client, topic, &first, 0).await.unwrap().base_offset, Offset::ZERO);
    let refused = send_at(&mut client, topic, &numbered(id, 1, &["late"]), 1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnexpectedEnd);
    send_at(&mut client, topic, &numbered(id, 1, &["next"]), 2).await.unwrap();
    assert_eq!(client.values(topic, 0).await, ["mine", "another's", "next"]);
}

#[tokio::test]
async fn one_of_many_rivals_wins_each_end() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    // Each batch rolls, so most of them pass the append queue.
    let topic = client.create_topic("events", 1, &[("segment.messages", "1")]).await;
    let mut rivals = tokio::task::JoinSet::new();
    for rival in 0..8 {
        let mut client = Raw::open(broker.connect()).await;
        rivals.spawn(async move {
            let mut won = Vec::new();
            for end in 0..20 {
                match send_at(&mut client, topic, &batch(&[&format!("{rival}")]), end).await {
                    Ok(produced) => won.push((produced.base_offset.value(), rival)),
                    Err(failure) => assert_eq!(failure.code, ErrorCode::UnexpectedEnd),
                }
            }
            won
        });
    }
    let mut won = rivals.join_all().await.concat();
    won.sort_unstable();
    let winners: Vec<String> = won.iter().map(|(_, rival)| rival.to_string()).collect();
    assert_eq!(client.values(topic, 0).await, winners);
    assert!(won.iter().enumerate().all(|(at, (offset, _))| at as u64 == *offset), "{won:?}");
}
