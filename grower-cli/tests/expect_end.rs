//! `produce --expect-end`: all lines at the expected end of the partition, or none.

mod kit;

use kit::{Served, json, text};

#[test]
fn lines_are_written_at_the_expected_end_or_the_end_is_named() {
    let broker = Served::start();
    broker.ok("topic create t", b"");
    let says = text(&broker.ok("produce t --partition 0 --expect-end 0", b"a\nb\n"));
    assert!(says.starts_with("t: 2 records"), "{says}");
    let error = broker.fails("produce t --partition 0 --expect-end 0", b"late\n");
    assert_eq!(error.trim_end(), "error: t/0 ends at offset 2, not at 0; nothing was written");
    let error = broker.fails("produce t --partition 0 --expect-end 9223372036854775807", b"early\n");
    assert_eq!(error.trim_end(), "error: t/0 ends at offset 2, not at 9223372036854775807; nothing was written");
    broker.ok("produce t --partition 0 --expect-end 2 --key k --header h=x --compression lz4", b"c");
    assert_eq!(text(&broker.read("t")), "a\nb\nc\n");
}

#[test]
fn json_has_an_ack_for_each_line_or_the_actual_end() {
    let broker = Served::start();
    broker.ok("topic create t", b"");
    let acks = json(&broker.ok("produce t --partition 0 --expect-end 0 --output json", b"a\nb\n"));
    let offsets: Vec<_> = acks.iter().map(|ack| (ack["line"].as_u64(), ack["offset"].as_u64())).collect();
    assert_eq!(offsets, [(Some(1), Some(0)), (Some(2), Some(1))]);
    assert!(acks.iter().all(|ack| ack["durability"] == "fsynced"), "{acks:?}");
    let refused = broker.run("produce t --partition 0 --expect-end 1 --output json", b"late\n");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "{\"topic\":\"t\",\"partition\":0,\"expected_end\":1,\"end\":2}\n");
}

#[test]
fn input_that_is_no_single_batch_writes_nothing() {
    let broker = Served::start();
    broker.ok("topic create t --config max.message.bytes=1000", b"");
    let lines = "0123456789\n".repeat(200);
    for (input, expected) in [
        (lines.as_bytes(), "the lines have more than 1000 bytes"),
        (&[b'\n'; 200][..], "the lines have more than 1000 bytes"),
        (&[b'x'; 2_000][..], "line 1; nothing was written: has 2000 bytes"),
        (b"", "there is no record to append"),
    ] {
        let error = broker.fails("produce t --partition 0 --expect-end 0", input);
        assert!(error.contains(expected), "{error}");
    }
    let error = broker.fails("produce t --partition 0 --expect-end 0 --acks none", b"a\n");
    assert!(error.contains("acks none"), "{error}");
    for wrong in [
        "produce t --expect-end 0",
        "produce t --partition 0 --expect-end -1",
        "produce t --partition 0 --expect-end 0 --batch-records 2",
    ] {
        assert_eq!(broker.run(wrong, b"a\n").status.code(), Some(2), "{wrong}");
    }
    assert_eq!(text(&broker.read("t")), "");
}
