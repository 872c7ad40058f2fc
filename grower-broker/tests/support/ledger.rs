//! A ledger of acknowledged and read records, to check a log after a crash.
//!
//! Every record has its writer, its partition, and its number among the writer's records there. The log alone shows
//! missing, repeated and reordered records.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use grower_client::ids::{Offset, PartitionId};
use grower_client::{Ack, Client, ConsumerRecord, OffsetSpec, StartFrom};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Longer than reading anything takes here; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

/// One record's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) writer: u32,
    /// Which one of this writer in its partition, from 0.
    pub(crate) number: u32,
}

impl Line {
    /// A written line: of varying length, and distinct from every other line of every partition.
    pub(crate) fn text(self, partition: u32) -> String {
        let Self { writer, number } = self;
        let padding = ".".repeat((writer * 31 + number * 7919) as usize % 400);
        format!("writer {writer} partition {partition} line {number} {padding}")
    }

    fn of(record: &ConsumerRecord) -> Self {
        let partition = record.partition.value();
        let text = std::str::from_utf8(record.value.as_deref().unwrap_or_default()).unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let word = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(u32::MAX);
        let line = Self { writer: word(1), number: word(5) };
        assert_eq!(line.text(partition), text, "partition {partition} offset {} holds another line", record.offset);
        line
    }
}

/// A topic's promises, partition by partition.
pub(crate) struct Ledger {
    pub(crate) topic: &'static str,
    pages: Vec<Mutex<Page>>,
    acks: AtomicU64,
    noted: Notify,
    writers: AtomicU32,
    /// Other topics that were created and deleted; those in doubt are not listed.
    others: Mutex<BTreeMap<String, bool>>,
}

#[derive(Default)]
struct Page {
    /// By offset, what was acknowledged there.
    acked: BTreeMap<u64, Line>,
    /// By offset, from 0 on, what a reader was shown.
    shown: Vec<Line>,
    /// By writer, how many lines it handed in, once it is sure that all of them were acknowledged.
    whole: BTreeMap<u32, u32>,
    /// How far the group has committed, by what the broker answered.
    committed: u64,
}

impl Ledger {
    pub(crate) fn new(topic: &'static str, partitions: u32) -> Arc<Self> {
        let pages = (0..partitions).map(|_| Mutex::default()).collect();
        let (acks, noted, writers) = (AtomicU64::new(0), Notify::new(), AtomicU32::new(0));
        Arc::new(Self { topic, pages, acks, noted, writers, others: Mutex::default() })
    }

    /// Everything acknowledged and committed up to now: a copy made from now on must have it.
    pub(crate) fn as_of_now(&self) -> Self {
        let copy = |page: &Mutex<Page>| {
            let page = page.lock();
            Mutex::new(Page { acked: page.acked.clone(), committed: page.committed, ..Page::default() })
        };
        let pages = self.pages.iter().map(copy).collect();
        let (acks, noted, writers) = (AtomicU64::new(self.acks()), Notify::new(), AtomicU32::new(0));
        Self { topic: self.topic, pages, acks, noted, writers, others: Mutex::default() }
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.pages.len() as u32
    }

    /// A number for one more writer.
    pub(crate) fn enrol(&self) -> u32 {
        self.writers.fetch_add(1, Ordering::Relaxed)
    }

    /// Acks so far.
    pub(crate) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Acquire)
    }

    /// Notes an ack. No offset is ever acknowledged to two.
    pub(crate) fn note(&self, line: Line, ack: &Ack) {
        let offset = ack.offset.expect("acks all names an offset").value();
        let before = self.page(ack.partition.value()).lock().acked.insert(offset, line);
        assert_eq!(
            before, None,
            "partition {} offset {offset} was acknowledged twice, now for {line:?}",
            ack.partition
        );
        self.acks.fetch_add(1, Ordering::AcqRel);
        self.noted.notify_waiters();
    }

    /// Returns once there are this many acks.
    pub(crate) async fn wait_for(&self, acks: u64) {
        loop {
            let noted = self.noted.notified();
            if acks <= self.acks() {
                return;
            }
            noted.await;
        }
    }

    /// Notes that all lines of a writer were acknowledged, by partition.
    pub(crate) fn complete(&self, writer: u32, lines: &[u32]) {
        for (page, lines) in self.pages.iter().zip(lines) {
            page.lock().whole.insert(writer, *lines);
        }
    }

    /// Notes what a reader was shown, which must be the next offset each time.
    pub(crate) fn show(&self, record: &ConsumerRecord) {
        let mut page = self.page(record.partition.value()).lock();
        assert_eq!(
            record.offset.value(),
            page.shown.len() as u64,
            "partition {} was read with a gap",
            record.partition
        );
        page.shown.push(Line::of(record));
    }

    /// How much a reader was shown.
    pub(crate) fn shown(&self) -> u64 {
        self.pages.iter().map(|page| page.lock().shown.len() as u64).sum()
    }

    /// Notes an offset that a group's commit was answered for.
    pub(crate) fn commit(&self, partition: u32, offset: u64) {
        let mut page = self.page(partition).lock();
        page.committed = page.committed.max(offset);
    }

    /// How far the group has committed.
    pub(crate) fn committed(&self, partition: u32) -> u64 {
        self.page(partition).lock().committed
    }

    /// Notes that a topic was created or deleted, or is about to be: then its state is in doubt until the answer.
    pub(crate) fn topic(&self, name: &str, exists: Option<bool>) {
        match exists {
            Some(exists) => self.others.lock().insert(name.to_owned(), exists),
            None => self.others.lock().remove(name),
        };
    }

    /// By name, the topics whose creation or deletion was acknowledged.
    pub(crate) fn topics(&self) -> BTreeMap<String, bool> {
        self.others.lock().clone()
    }

    fn page(&self, partition: u32) -> &Mutex<Page> {
        &self.pages[partition as usize]
    }
}

/// Reads a log and checks it against the ledger, from where it ended the last time; a new one reads everything.
#[derive(Default)]
pub(crate) struct Audit {
    partitions: BTreeMap<u32, Seen>,
}

#[derive(Default)]
struct Seen {
    next: u64,
    /// By writer, the number that its next line must have.
    numbers: BTreeMap<u32, u32>,
}

impl Audit {
    /// Reads up to the high watermark as of now. Returns how many records there were.
    pub(crate) async fn run(&mut self, client: &Client, ledger: &Ledger) -> u64 {
        let mut read = 0;
        for partition in 0..ledger.partitions() {
            let seen = self.partitions.entry(partition).or_default();
            read += seen.read_on(client, ledger, partition).await;
        }
        read
    }

    /// Everything that writers are sure of must have been read.
    pub(crate) fn is_complete(&self, ledger: &Ledger) {
        for (partition, seen) in &self.partitions {
            let page = ledger.page(*partition).lock();
            for (writer, lines) in &page.whole {
                let found = seen.numbers.get(writer).copied().unwrap_or(0);
                assert_eq!(found, *lines, "lines of writer {writer} in partition {partition}");
            }
        }
    }
}

impl Seen {
    async fn read_on(&mut self, client: &Client, ledger: &Ledger, partition: u32) -> u64 {
        // Before asking for the end: what is promised by now must be there by then.
        let (promised, shown) = {
            let page = ledger.page(partition).lock();
            (page.acked.last_key_value().map_or(0, |(offset, _)| offset + 1), page.shown.len() as u64)
        };
        let end = end(client, ledger.topic, partition).await;
        assert!(promised <= end, "partition {partition}: acknowledged up to {promised}, but the log ends at {end}");
        assert!(shown <= end, "partition {partition}: shown up to {shown}, but the log ends at {end}");
        let from = self.next;
        if from == end {
            return 0;
        }
        let start = StartFrom::Offset(Offset::new(from));
        let assigned = [(ledger.topic, PartitionId::new(partition))];
        let mut consumer = client.consumer().assign(assigned).from(start).build().await.unwrap();
        while self.next < end {
            let records = consumer.poll(LONG).await.unwrap();
            assert!(!records.is_empty(), "partition {partition}: nothing comes at {}, before {end}", self.next);
            for record in records {
                self.check(ledger, partition, &record);
            }
        }
        consumer.close().await.unwrap();
        self.next - from
    }

    fn check(&mut self, ledger: &Ledger, partition: u32, record: &ConsumerRecord) {
        let at = format!("partition {partition} offset {}", record.offset);
        assert_eq!(record.offset.value(), self.next, "{at}: offsets are dense");
        let line = Line::of(record);
        let page = ledger.page(partition).lock();
        if let Some(acked) = page.acked.get(&self.next) {
            assert_eq!(line, *acked, "{at}: not what was acknowledged");
        }
        if let Some(shown) = page.shown.get(self.next as usize) {
            assert_eq!(line, *shown, "{at}: not what was read before");
        }
        let number = self.numbers.entry(line.writer).or_default();
        assert_eq!(line.number, *number, "{at}: writer {}'s lines are there once and in order", line.writer);
        *number += 1;
        self.next += 1;
    }
}

async fn end(client: &Client, topic: &str, partition: u32) -> u64 {
    let found = client.admin().list_offsets([(topic, PartitionId::new(partition), OffsetSpec::End)]).await.unwrap();
    found.into_iter().next().unwrap().unwrap().offset.unwrap().value()
}
