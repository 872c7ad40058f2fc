//! Snapshots of the output of commands.

mod kit;

use kit::{Served, text};

/// Replaces the numbers at these keys of JSON, which differ from machine to machine.
fn without(keys: &[&str], output: &[u8]) -> String {
    let mut same = text(output);
    for key in keys {
        let key = format!("\"{key}\":");
        let mut rest = 0;
        while let Some(at) = same[rest..].find(&key).map(|at| rest + at + key.len()) {
            let end = same[at..].find([',', '}']).map_or(same.len(), |end| at + end);
            same.replace_range(at..end, "N");
            rest = at;
        }
    }
    same
}

/// Replaces ids and times, which differ from run to run.
fn same_each_time(output: &[u8]) -> String {
    let text = text(output);
    let mut same = String::new();
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
    for word in text.split_inclusive(|c| !in_word(c)) {
        let body = word.trim_end_matches(|c| !in_word(c)).trim_start_matches(':');
        let is_id = body.len() == 36 && body.split('-').count() == 5;
        let is_time = body.ends_with('Z') && body.contains('T') && body.contains(':');
        let is_millis = body.len() == 13 && body.starts_with("17") && body.bytes().all(|byte| byte.is_ascii_digit());
        let is_producer = !is_millis && 10 < body.len() && body.bytes().all(|byte| byte.is_ascii_digit());
        let name = if is_id || is_producer { "ID" } else { "TIME" };
        match is_id || is_producer || is_time || is_millis {
            true => same.push_str(&word.replace(body, name)),
            false => same.push_str(word),
        }
    }
    same
}

#[test]
fn topics_from_creation_to_deletion() {
    let broker = Served::start();
    let says = |command: &str| same_each_time(&broker.ok(command, b""));
    insta::assert_snapshot!(says("topic create rainbow:3 sandbox --config segment.messages=3"), @"
    created rainbow(3)
    created sandbox(1)
    ");
    insta::assert_snapshot!(says("topic create rainbow more --if-not-exists --output json"), @r#"
    {"topic":"rainbow","id":null,"created":false}
    {"topic":"more","id":"ID","created":true}
    "#);
    insta::assert_snapshot!(broker.fails("topic create rainbow", b""), @"error: topic rainbow exists already");
    insta::assert_snapshot!(says("topic alter sandbox --config retention.ms=12h --config segment.messages="), @"
    sandbox: retention.ms is 12h now
    sandbox: segment.messages is the default now
    ");
    insta::assert_snapshot!(says("topic alter sandbox --config retention.ms= --output json"), @r#"{"topic":"sandbox","configs":{"retention.ms":null}}"#);
    insta::assert_snapshot!(broker.fails("topic alter sandbox --config retention.sm=12h", b""), @r#"error: there is no topic config "retention.sm" (did you mean retention.ms?); known are cleanup.policy, delete.retention.ms, flush, index.interval.bytes, max.message.bytes, message.timestamp.after.max.ms, min.cleanable.dirty.ratio, min.compaction.lag.ms, retention.bytes, retention.messages, retention.ms, segment.bytes, segment.messages, segment.ms"#);
    insta::assert_snapshot!(says("topic grow sandbox --partitions 2"), @"sandbox has 2 partitions now, 1 before");
    insta::assert_snapshot!(broker.fails("topic grow sandbox --partitions 1", b""), @"error: topic sandbox has 2 partitions; it can grow, and 1 is not more");
    let listed = says("topic list");
    let (listed, disk) = listed.trim_end().rsplit_once('\n').unwrap();
    assert!(disk.starts_with("disk: ") && disk.contains("reserve"), "{disk}");
    insta::assert_snapshot!(listed, @"
    TOPIC    PARTITIONS  REPLICAS  RECORDS  SIZE  IN/S       OUT/S       CONFIG
    more     1           1         0        0 B   0     0 B  0      0 B
    rainbow  3           1         0        0 B   0     0 B  0      0 B  segment.messages=3
    sandbox  2           1         0        0 B   0     0 B  0      0 B
    ");
    insta::assert_snapshot!(without(&["days_until_full"], says("topic list --output json").as_bytes()), @r#"[{"topic":"more","partitions":1,"replication_factor":1,"records":0,"bytes":0,"records_in_per_s":0,"bytes_in_per_s":0,"records_out_per_s":0,"bytes_out_per_s":0,"days_until_full":N},{"topic":"rainbow","partitions":3,"replication_factor":1,"records":0,"bytes":0,"records_in_per_s":0,"bytes_in_per_s":0,"records_out_per_s":0,"bytes_out_per_s":0,"days_until_full":N},{"topic":"sandbox","partitions":2,"replication_factor":1,"records":0,"bytes":0,"records_in_per_s":0,"bytes_in_per_s":0,"records_out_per_s":0,"bytes_out_per_s":0,"days_until_full":N}]"#);
    insta::assert_snapshot!(says("topic delete more"), @"deleted more");
    insta::assert_snapshot!(says("topic delete sandbox --output json"), @r#"{"topic":"sandbox","deleted":true}"#);
    insta::assert_snapshot!(broker.fails("topic delete sandbox", b""), @"error: there is no topic sandbox");
    insta::assert_snapshot!(broker.fails("topic create a/b rainbow", b""), @r#"
    error: "a/b" has the character '/'; topic names consist of a-z A-Z 0-9 . _ -
    error: topic rainbow exists already
    error: 2 of 2 topics were not created
    "#);
}

#[test]
fn a_topic_is_described_with_its_segments_and_records() {
    let broker = Served::start();
    broker.ok("topic create rainbow:2 --config segment.messages=3", b"");
    let kitties: String = (0..8).map(|number| format!("Hello, Kitty {number}!\n")).collect();
    broker.ok("produce rainbow --partitioner round-robin --batch-records 1", kitties.as_bytes());
    // An idle partition writes its checkpoint, and the remaining index entries with it.
    while broker
        .ok("topic describe rainbow --segments --output json", b"")
        .windows(16)
        .any(|text| text == br#""index_bytes":0,"#)
    {
        std::thread::yield_now();
    }
    insta::assert_snapshot!(same_each_time(&broker.ok("topic describe rainbow --segments --records", b"")), @"
    topic rainbow  id ID  replication factor 1

    CONFIG                          VALUE   SET BY
    cleanup.policy                  delete  default
    delete.retention.ms             1d      default
    flush                           fsync   default
    index.interval.bytes            4KiB    default
    max.message.bytes               1MiB    default
    message.timestamp.after.max.ms  1h      default
    min.cleanable.dirty.ratio       0.5     default
    min.compaction.lag.ms           0       default
    retention.bytes                 -1      default
    retention.messages              -1      default
    retention.ms                    5d      default
    segment.bytes                   1GiB    default
    segment.messages                3       topic
    segment.ms                      1d      default

    PARTITION  LEADER  EPOCH  REPLICAS  ISR  START  HW  END  SIZE   DAMAGED
    rainbow/0  1       0      1         1    0      4   4    396 B
    rainbow/1  1       0      1         1    0      4   4    396 B

    PARTITION  LOG FILE                        OFFSETS  LOG    INDEX  NEWEST RECORD
    rainbow/0  00000000000000000000.growerlog  0..3     249 B  32 B   TIME
    rainbow/0  00000000000000000003.growerlog  3..4     83 B   32 B   TIME
    rainbow/1  00000000000000000000.growerlog  0..3     249 B  32 B   TIME
    rainbow/1  00000000000000000003.growerlog  3..4     83 B   32 B   TIME

    records:
      rainbow/0  00000000000000000000.growerlog  ['Hello, Kitty 0!', 'Hello, Kitty 2!', 'Hello, Kitty 4!']   + .growerindex
                 00000000000000000003.growerlog  ['Hello, Kitty 6!']                                         + .growerindex
      rainbow/1  00000000000000000000.growerlog  ['Hello, Kitty 1!', 'Hello, Kitty 3!', 'Hello, Kitty 5!']   + .growerindex
                 00000000000000000003.growerlog  ['Hello, Kitty 7!']                                         + .growerindex
    ");
    insta::assert_snapshot!(same_each_time(&broker.ok("topic describe rainbow --segments --output json", b"")), @r#"{"topic":"rainbow","id":"ID","replication_factor":1,"configs":{"cleanup.policy":{"value":"delete","source":"default"},"delete.retention.ms":{"value":"1d","source":"default"},"flush":{"value":"fsync","source":"default"},"index.interval.bytes":{"value":"4KiB","source":"default"},"max.message.bytes":{"value":"1MiB","source":"default"},"message.timestamp.after.max.ms":{"value":"1h","source":"default"},"min.cleanable.dirty.ratio":{"value":"0.5","source":"default"},"min.compaction.lag.ms":{"value":"0","source":"default"},"retention.bytes":{"value":"-1","source":"default"},"retention.messages":{"value":"-1","source":"default"},"retention.ms":{"value":"5d","source":"default"},"segment.bytes":{"value":"1GiB","source":"default"},"segment.messages":{"value":"3","source":"topic"},"segment.ms":{"value":"1d","source":"default"}},"partitions":[{"partition":0,"leader":1,"leader_epoch":0,"replicas":[1],"in_sync":[1],"log_start":0,"high_watermark":4,"log_end":4,"bytes":396,"damaged":[],"given_up":[],"segments":[{"log_file":"00000000000000000000.growerlog","index_file":"00000000000000000000.growerindex","base_offset":0,"end_offset":3,"log_bytes":249,"index_bytes":32,"max_timestamp":TIME},{"log_file":"00000000000000000003.growerlog","index_file":"00000000000000000003.growerindex","base_offset":3,"end_offset":4,"log_bytes":83,"index_bytes":32,"max_timestamp":TIME}]},{"partition":1,"leader":1,"leader_epoch":0,"replicas":[1],"in_sync":[1],"log_start":0,"high_watermark":4,"log_end":4,"bytes":396,"damaged":[],"given_up":[],"segments":[{"log_file":"00000000000000000000.growerlog","index_file":"00000000000000000000.growerindex","base_offset":0,"end_offset":3,"log_bytes":249,"index_bytes":32,"max_timestamp":TIME},{"log_file":"00000000000000000003.growerlog","index_file":"00000000000000000003.growerindex","base_offset":3,"end_offset":4,"log_bytes":83,"index_bytes":32,"max_timestamp":TIME}]}]}"#);
}

#[test]
fn a_trim_prints_its_effect_before_it_drops_records() {
    let broker = Served::start();
    broker.ok("topic create events:2 --config segment.messages=2", b"");
    broker.ok("produce events --partition 0 --batch-records 1", b"0\n1\n2\n3\n4\n");
    let says = |command: &str| text(&broker.ok(command, b""));
    insta::assert_snapshot!(says("topic trim events --before end --dry-run"), @"
    events/0: would drop 5 records, offsets 0..5, and frees 409 B
    events/1: nothing to drop before offset 0, the log starts at 0
    ");
    insta::assert_snapshot!(says("topic trim events/0 --before offset:3 --output json --dry-run"), @r#"[{"topic":"events","partition":0,"log_start":0,"before":3,"records":3,"bytes":170,"trimmed":false}]"#);
    insta::assert_snapshot!(says("topic trim events/0 --before offset:3"), @"
    events/0: drops 3 records, offsets 0..3, and frees 170 B
    done
    ");
    insta::assert_snapshot!(says("topic trim events/0 --before offset:3 --output json"), @r#"[{"topic":"events","partition":0,"log_start":3,"before":3,"records":0,"bytes":0,"trimmed":false}]"#);
    assert_eq!(text(&broker.read("events")), "3\n4\n");
    insta::assert_snapshot!(says("topic trim events/0 --before time:-1h"), @"events/0: nothing to drop before offset 3, the log starts at 3");
    insta::assert_snapshot!(broker.fails("topic trim events --before offset:9", b""), @"error: events/0: offset 9 is above the high watermark, 5");
    insta::assert_snapshot!(broker.fails("topic trim events/7 --before end", b""), @"error: topic events has 2 partitions, counted from 0");
    assert_eq!(text(&broker.read("events")), "3\n4\n");
}

#[test]
fn growing_a_topic_warns_that_keys_move() {
    let broker = Served::start();
    broker.ok("topic create sandbox:2", b"");
    let output = broker.run("topic grow sandbox --partitions 4", b"");
    insta::assert_snapshot!(text(&output.stderr), @"warning: a key of sandbox moves from partition hash(key) % 2 to hash(key) % 4; the order between its old and new records is lost");
}

#[test]
fn a_segment_is_dumped_batch_by_batch() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events --key-separator : --header host=web1 --compression lz4", b"k:one\ntwo \xff\n");
    let file = broker.data_dir().join("topics/events/0/00000000000000000000.growerlog");
    let dump = |form: &str| broker.run(&format!("log dump {} {form}", file.display()), b"");
    let stdout = text(&dump("").stdout);
    let batches: String =
        stdout.lines().filter(|line| !line.contains("preallocated")).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(same_each_time(batches.as_bytes()), @r"
    at byte 0: offsets 0..2, 119 bytes, 2 records, compression lz4, leader epoch 0, producer ID epoch 0 sequence 0
      0  TIME  key 'k'  value 'one'  'host'='web1'
      1  TIME  key null  value 'two \xff'  'host'='web1'
    ");
    insta::assert_snapshot!(same_each_time(&dump("--output json").stdout), @r#"{"position":0,"bytes":119,"base_offset":0,"next_offset":2,"leader_epoch":0,"codec":"lz4","max_timestamp":TIME,"producer":{"id":ID,"epoch":0,"sequence":0},"records":[{"offset":0,"timestamp":TIME,"key":"k","value":"one","headers":[["host","web1"]]},{"offset":1,"timestamp":TIME,"key":null,"value_base64":"dHdvIP8=","headers":[["host","web1"]]}]}"#);

    let mut bytes = std::fs::read(&file).unwrap();
    bytes[70] ^= 1;
    let damaged = broker.path("damaged.growerlog");
    std::fs::write(&damaged, bytes).unwrap();
    let error = broker.fails(&format!("log dump {}", damaged.display()), b"");
    assert!(error.contains("damaged.growerlog: bytes 0..") && error.contains(": stored crc 0x"), "{error}");
}

#[test]
fn a_bench_prints_throughput_and_latencies() {
    let broker = Served::start();
    for command in [
        "produce --records 500 --size 100 --producers 2",
        "consume",
        "end-to-end --records 20 --topic one-by-one",
        "end-to-end --records 20 --keys 3 --topic three-keys --partitions 5",
    ] {
        let stdout = text(&broker.ok(&format!("bench {command}"), b""));
        assert!(stdout.contains("records/s") && stdout.contains("p99.9"), "{stdout}");
        let json = kit::json(&broker.ok(&format!("bench {command} --output json"), b""));
        assert!(json[0]["latency_us"]["p50"].is_number() && json[0]["records"].as_u64().unwrap() >= 20, "{json:?}");
    }
}

#[test]
fn a_bench_of_reading_tells_its_cost_alone_and_in_a_group() {
    let broker = Served::start();
    broker.ok("bench produce --records 500 --size 100 --partitions 3", b"");
    for member in ["", "--group readers"] {
        let json = kit::json(&broker.ok(&format!("bench consume --output json {member}"), b""));
        assert_eq!(json[0]["records"], 500, "{json:?}");
        for cost in ["first_record_seconds", "processor_seconds", "peak_memory_bytes"] {
            assert!(0.0 < json[0][cost].as_f64().unwrap(), "{cost}: {json:?}");
        }
        assert!(json[0]["after_first_record"]["bytes"].as_u64().unwrap() < 50_000, "{json:?}");
    }
    assert!(text(&broker.ok("bench consume", b"")).contains("first record after "));
}

#[test]
fn a_broker_is_described() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("produce events", b"0\n1\n2\n");
    broker.ok("consume events --until-end", b"");
    let stdout = text(&broker.ok("broker describe", b""));
    for word in ["broker 1  version ", "memory  ", "fsync   ", "disk    ", "in      ", "out     "] {
        assert!(stdout.contains(word), "{stdout}");
    }
    let json = broker.ok("broker describe --output json", b"");
    let numbers = [
        "uptime_ms",
        "connections",
        "time",
        "used",
        "count",
        "p50_us",
        "p99_us",
        "total",
        "free",
        "reserve",
        "used_up",
        "over_ms",
        "days_until_full",
        "records_in_per_s",
        "bytes_in_per_s",
        "records_out_per_s",
        "bytes_out_per_s",
    ];
    insta::assert_snapshot!(without(&numbers, &json), @r#"{"node":1,"version":"0.1.0","time":N,"uptime_ms":N,"connections":N,"memory":{"used":N,"budget":1073741824},"fsync":{"count":N,"p50_us":N,"p99_us":N},"disk":{"total":N,"free":N,"reserve":N,"used_up":N,"over_ms":N,"days_until_full":N},"records_in_per_s":N,"bytes_in_per_s":N,"records_out_per_s":N,"bytes_out_per_s":N}"#);
    let described = &kit::json(&json)[0];
    assert!(
        described["bytes_in_per_s"].as_u64().unwrap() > 0 && described["records_out_per_s"].is_u64(),
        "{described}"
    );
}

#[test]
fn settings_change_while_the_broker_runs_and_stay_changed() {
    let mut broker = Served::start();
    let says = |broker: &Served, command: &str| text(&broker.ok(command, b""));
    let flush = |broker: &Served| {
        let settings = says(broker, "broker settings");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        settings.lines().map(words).find(|line| line.starts_with("disk.flush_delay")).unwrap()
    };
    assert_eq!(flush(&broker), "disk.flush_delay 5ms default no");
    insta::assert_snapshot!(says(&broker, "broker alter --config disk.flush_delay=7ms --config disk.reserve_bytes=1MiB"), @"
    disk.flush_delay is 7ms now
    disk.reserve_bytes is 1MiB now
    ");
    assert_eq!(flush(&broker), "disk.flush_delay 7ms broker alter, over 5ms no");
    broker.restart();
    assert_eq!(flush(&broker), "disk.flush_delay 7ms broker alter, over 5ms no");
    insta::assert_snapshot!(says(&broker, "broker alter --config disk.flush_delay= --output json"), @r#"{"settings":{"disk.flush_delay":null}}"#);
    assert_eq!(flush(&broker), "disk.flush_delay 5ms default no");
    insta::assert_snapshot!(broker.fails("broker alter --config disk.flush=7ms", b""), @r#"error: there is no setting "disk.flush"; known are disk.reserve_bytes, disk.flush_delay, disk.retention_check"#);
    insta::assert_snapshot!(broker.fails("broker alter --config broker.memory=2GiB", b""), @"error: broker.memory changes only with a restart: set it in the config file, the environment or a flag, and restart the broker");
    insta::assert_snapshot!(broker.fails("broker alter --config logging.level=debug", b""), @"error: this broker runs inside another program, which controls its own logging");
    insta::assert_snapshot!(broker.fails("broker alter --config disk.flush_delay=8ms --config fetch.bytes_max=1000MiB", b""), @"error: fetch.bytes_max is 1048576000, and must be at least 64KiB below network.frame_bytes_max, which is 104857600");
    assert_eq!(flush(&broker), "disk.flush_delay 5ms default no", "all or none");
    let json = kit::json(&broker.ok("broker settings --output json", b""));
    insta::assert_snapshot!(json[0][2], @r#"{"key":"broker.memory","value":"1GiB","source":"default","set_by":null,"started_with":"1GiB","needs_restart":true,"about":"Memory for connections (64KiB each, at most five eighths), requests (at most an eighth each) and answers","accepts":"a size from 16MiB, such as 1GiB"}"#);
}

#[test]
fn a_reserve_that_is_raised_refuses_writes_until_it_is_lowered() {
    let broker = Served::start();
    broker.ok("topic create events", b"");
    broker.ok("broker alter --config disk.reserve_bytes=1024TiB", b"");
    let listed = text(&broker.ok("topic list", b""));
    assert!(listed.contains("writes are refused until"), "{listed}");
    broker.ok("broker alter --config disk.reserve_bytes=", b"");
    broker.ok("produce events", b"0\n");
}

#[test]
fn a_doctor_examines_the_machine_and_the_broker() {
    let mut broker = Served::start();
    let lines = |command: &str, broker: &Served| {
        let output = broker.run(command, b"");
        (kit::json(&output.stdout)[0].as_array().unwrap().clone(), output.status.code())
    };
    let (checks, status) = lines("doctor --output json", &broker);
    let of = |about: &str| checks.iter().find(|check| check["about"] == about);
    assert_eq!(of("broker").unwrap()["level"].as_str().map(|level| level == "bad"), Some(false));
    assert!(of("fsync").unwrap()["found"].as_str().unwrap().contains("p99"), "the broker named its directory");
    let bad = checks.iter().filter(|check| check["level"] == "bad").count();
    assert_eq!(status, Some(i32::from(bad != 0)));
    let alone = broker.cli("doctor --output json");
    broker.stop();
    let output = kit::feed({ alone }.stdin(std::process::Stdio::piped()).spawn().unwrap(), b"");
    assert_eq!(output.status.code(), Some(1), "no broker answers");
    assert!(text(&output.stdout).contains("does not answer"), "{}", text(&output.stdout));
}

#[test]
fn why_explains_topics_and_groups() {
    let broker = Served::start();
    broker.ok("topic create events:2", b"");
    broker.ok("produce events --partition 0", b"0\n1\n2\n3\n");
    broker.ok("consume events --group billing --limit 3", b"");
    let stdout = text(&broker.ok("why billing", b""));
    assert!(stdout.contains("events/0: no owner: the group has no members, start a consumer; 1 record ("), "{stdout}");
    let stdout = text(&broker.ok("why events", b""));
    assert!(stdout.contains("group billing: is 1 record (") && stdout.contains("why billing says why"), "{stdout}");
    let json = kit::json(&broker.ok("why billing --output json", b""));
    assert_eq!((&json[0][0]["kind"], &json[0][0]["verdict"]), (&"group".into(), &"waits".into()));
    insta::assert_snapshot!(broker.fails("why nothing", b""), @"error: there is no topic and no group nothing; see grower-cli topic list and group list");
    insta::assert_snapshot!(broker.fails("top", b""), @"error: top needs a terminal; in a pipe use topic list, group describe or broker describe");
}

#[test]
fn a_file_size_limit_is_reported_as_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = std::fs::File::create(dir.path().join("out")).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 1 && exec \"$0\" completions bash", env!("CARGO_BIN_EXE_grower-cli")]).stdout(out);
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{:?}", ended.status);
    assert!(text(&ended.stderr).contains("File too large"), "{}", text(&ended.stderr));
}
