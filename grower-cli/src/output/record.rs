//! A record as one line of JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grower_client::{ConsumerRecord, Header};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Shows a record as `{"topic","partition","offset","timestamp","key","value","headers"}`.
///
/// A key or value that is not UTF-8 becomes `key_base64` or `value_base64`; such a header value becomes `{"base64":
/// ".."}`.
pub(crate) struct RecordJson<'a>(pub(crate) &'a ConsumerRecord);

impl Serialize for RecordJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("topic", record.topic.as_str())?;
        map.serialize_entry("partition", &record.partition.value())?;
        map.serialize_entry("offset", &record.offset.value())?;
        map.serialize_entry("timestamp", &record.timestamp.as_millis())?;
        content(&mut map, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
        map.end()
    }
}

/// Adds `key`, `value` and `headers`.
pub(crate) fn content<M: SerializeMap>(
    map: &mut M,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> Result<(), M::Error> {
    entry(map, "key", "key_base64", key)?;
    entry(map, "value", "value_base64", value)?;
    map.serialize_entry("headers", &headers.iter().map(HeaderJson).collect::<Vec<_>>())
}

fn entry<M: SerializeMap>(map: &mut M, text: &str, base64: &str, bytes: Option<&[u8]>) -> Result<(), M::Error> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => map.serialize_entry(text, &()),
        Some((_, Ok(utf8))) => map.serialize_entry(text, utf8),
        Some((bytes, Err(_))) => map.serialize_entry(base64, &STANDARD.encode(bytes)),
    }
}

struct HeaderJson<'a>(&'a Header);

impl Serialize for HeaderJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = String::from_utf8_lossy(&self.0.name);
        match self.0.value.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => (name, ()).serialize(serializer),
            Some((_, Ok(utf8))) => (name, utf8).serialize(serializer),
            Some((bytes, Err(_))) => {
                let value = serde_json::json!({ "base64": STANDARD.encode(bytes) });
                (name, value).serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use grower_client::ids::{Offset, PartitionId, Timestamp, TopicName};

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>, headers: Vec<Header>) -> ConsumerRecord {
        ConsumerRecord {
            topic: TopicName::new("events").unwrap(),
            partition: PartitionId::new(2),
            offset: Offset::new(17),
            leader_epoch: None,
            timestamp: Timestamp::from_millis(1_795_296_645_125),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers,
        }
    }

    fn header(name: &'static [u8], value: Option<&'static [u8]>) -> Header {
        Header { name: Bytes::from_static(name), value: value.map(Bytes::from_static) }
    }

    fn json(record: &ConsumerRecord) -> String {
        serde_json::to_string(&RecordJson(record)).unwrap()
    }

    #[test]
    fn a_record_is_one_object() {
        let headers = vec![header(b"trace", Some(b"a=b")), header(b"trace", None), header(b"raw", Some(b"\xff"))];
        insta::assert_snapshot!(json(&record(Some(b"k"), Some(b"one\n\"two\"\0"), headers)), @r#"{"topic":"events","partition":2,"offset":17,"timestamp":1795296645125,"key":"k","value":"one\n\"two\"\u0000","headers":[["trace","a=b"],["trace",null],["raw",{"base64":"/w=="}]]}"#);
    }

    #[test]
    fn bytes_that_are_not_utf_8_become_base64_and_missing_ones_null() {
        insta::assert_snapshot!(json(&record(None, Some(b"\xff\xfe"), vec![])), @r#"{"topic":"events","partition":2,"offset":17,"timestamp":1795296645125,"key":null,"value_base64":"//4=","headers":[]}"#);
        insta::assert_snapshot!(json(&record(Some(b"\xc3"), None, vec![])), @r#"{"topic":"events","partition":2,"offset":17,"timestamp":1795296645125,"key_base64":"ww==","value":null,"headers":[]}"#);
    }

    #[test]
    fn a_template_prints_what_it_says_and_nothing_else() {
        let record = record(Some(b"k"), Some(b"\xff\r"), vec![header(b"a", Some(b"1")), header(b"b", None)]);
        let printed = |template: &str| {
            let mut out = Vec::new();
            template.parse::<crate::output::Template>().unwrap().write(&record, &mut out).unwrap();
            out
        };
        assert_eq!(printed(r"%t/%p@%o %k=%v\n"), b"events/2@17 k=\xff\r\n");
        assert_eq!(
            printed(r"%h|%K|%V|%m|%T|%%|\t\0\x1f\\"),
            b"a=1,b=|1|2|1795296645125|2026-11-21T21:30:45.125Z|%|\t\0\x1f\\"
        );
    }
}
