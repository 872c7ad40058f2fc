//! Named producers through the CLI.

mod kit;

use grower_client::{Client, Record};
use kit::{Served, json, text};

/// Claims a name for a moment, and writes a record under it.
fn write_as(broker: &Served, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&broker.address()).await.unwrap();
        let producer = client.producer().identity(name).build().await.unwrap();
        producer.send(Record::new("events").value("x")).await.unwrap();
        producer.close().await.unwrap();
    });
}

#[test]
fn named_producers_are_listed_described_and_deleted() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    ["shipper", "importer", "shipper"].iter().for_each(|name| write_as(&broker, name));
    let listed = &json(&broker.ok("producer list --output json", b""))[0];
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|producer| &producer["producer"]).collect();
    assert_eq!(names, ["importer", "shipper"]);
    assert!(text(&broker.ok("producer list", b"")).starts_with("PRODUCER  ID"));
    let described = &json(&broker.ok("producer describe shipper --output json", b""))[0];
    let partition = &described["partitions"][0];
    assert_eq!((&partition["topic"], &partition["offset"]), (&"events".into(), &2.into()), "{described}");
    assert_eq!((&partition["sequence"], &partition["epoch"]), (&1.into(), &described["epoch"]), "{described}");
    assert!(text(&broker.ok("producer describe shipper", b"")).contains("events/0   2       1"));

    let deleted = text(&broker.ok("producer delete shipper importer", b""));
    assert_eq!(deleted, "deleted producer shipper\ndeleted producer importer\n");
    for command in ["producer delete shipper", "producer describe shipper"] {
        let error = broker.fails(command, b"");
        assert!(error.contains("there is no producer shipper"), "{error}");
    }
    assert_eq!(text(&broker.ok("producer list --output json", b"")), "[]\n");
}
