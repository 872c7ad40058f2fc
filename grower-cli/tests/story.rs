//! The layers are replaceable: the demo runs unchanged over every way to put a broker together.

use grower_broker::{Broker, BrokerBuilder, BrokerConfig, IndexKind, MemLogs};
use grower_client::{Client, transport};
use grower_index::DenseIndex;
use grower_storage::disk::MemDisk;
use grower_storage::log::IndexFactory;
use std::sync::Arc;

/// Runs the demo on this broker, and returns its output.
async fn run_demo(broker: BrokerBuilder, over_tcp: bool) -> String {
    let broker = broker.start().await.unwrap();
    let client = match broker.listen_address() {
        Some(address) if over_tcp => Client::connect(address.to_string()).await.unwrap(),
        _ => Client::builder()
            .transport(transport::in_process(broker.connector()))
            .bootstrap(["here"])
            .connect()
            .await
            .unwrap(),
    };
    let mut printed = Vec::new();
    let result = grower_cli::demo::run(&client, &mut printed).await;
    let printed = String::from_utf8(printed).unwrap();
    assert!(result.is_ok(), "{printed}\n{:#}", result.unwrap_err());
    drop(client);
    broker.stop().await.unwrap();
    printed
}

fn at(directory: &tempfile::TempDir) -> BrokerConfig {
    BrokerConfig { disk_reserve_bytes: Some(1 << 20), ..BrokerConfig::at(directory.path()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_on_real_files_over_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let config = BrokerConfig { listen: Some(([127, 0, 0, 1], 0).into()), ..at(&directory) };
    let printed = run_demo(Broker::builder(config), true).await;
    assert!(directory.path().join("topics/rainbow/0").is_dir());
    assert!(printed.contains("rainbow/0  00000000000000000000.growerlog  ['Hello, Kitty 0!', 'Hello, Kitty 3!', 'Hello, Kitty 6!']     + .growerindex\n"));
    assert!(printed.contains("           00000000000000000003.growerlog  ['Hello, Kitty 9!', 'Hello, Kitty 12!', 'Hello, Kitty 15!']   + .growerindex\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_on_a_disk_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    run_demo(Broker::builder(at(&directory)).disk(Arc::new(MemDisk::default())), false).await;
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing reached the real disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_on_logs_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    run_demo(Broker::builder(at(&directory)).logs(Arc::new(MemLogs)), false).await;
    assert!(!directory.path().join("topics").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_with_a_dense_index() {
    let directory = tempfile::tempdir().unwrap();
    let dense = IndexFactory::new(|seed| Box::new(DenseIndex::new(seed)));
    run_demo(Broker::builder(at(&directory)).index(IndexKind::Custom(dense)), false).await;
}
