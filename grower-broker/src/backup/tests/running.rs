//! Backups of a running broker, on disks that can lose power.

use super::*;
use crate::backup::service::SEARCH_THREAD;
use crate::{Broker, BrokerConfig};
use grower_client::{BackupMade, BackupState, Client, Record as Text, TopicSpec, transport};
use std::sync::mpsc;
use std::time::Duration;

/// How many records a topic has.
const RECORDS: usize = 10;

/// A broker in this process, and a client of it.
pub(super) struct Run {
    broker: Broker,
    pub(super) client: Client,
}

impl Run {
    pub(super) async fn start(disk: Arc<dyn Disk>, dir: &str) -> Self {
        let config = BrokerConfig { backup_dir: Some("/b".into()), ..BrokerConfig::at(dir) };
        let broker = Broker::builder(config).disk(disk).start().await.unwrap();
        let client = Client::builder().transport(transport::in_process(broker.connector())).bootstrap(["here"]);
        let client = client.connect().await.unwrap();
        Self { broker, client }
    }

    /// A topic of ten records in several segments, and a group that read all of them.
    pub(super) async fn with_records(disk: Arc<dyn Disk>) -> Self {
        let run = Self::start(disk, DATA).await;
        let spec = TopicSpec::partitions(1).config("segment.messages", "3");
        run.client.admin().create_topic("events", spec).await.unwrap();
        run.produce(0..RECORDS).await;
        run.client.admin().reset_group("g", [("events", 0, Offset::new(RECORDS as u64))]).await.unwrap();
        run
    }

    pub(super) async fn produce(&self, values: std::ops::Range<usize>) {
        let producer = self.client.producer().build().await.unwrap();
        for value in values {
            producer.send(Text::new("events").value(value.to_string())).await.unwrap();
        }
    }

    pub(super) async fn back_up(&self) -> Result<BackupMade, String> {
        self.back_up_to("nightly").await
    }

    pub(super) async fn back_up_to(&self, dir: &str) -> Result<BackupMade, String> {
        self.client.admin().begin_backup(dir, false).await.map_err(|error| error.to_string())?;
        self.end_of_backup().await
    }

    /// The result of the backup.
    pub(super) async fn end_of_backup(&self) -> Result<BackupMade, String> {
        let admin = self.client.admin();
        loop {
            match admin.describe_backup().await.map_err(|error| error.to_string())?.map(|backup| backup.state) {
                Some(BackupState::Made(made)) => return Ok(made),
                Some(BackupState::Failed(failure)) => return Err(failure.to_string()),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// The log's start and end, and the group's position.
    pub(super) async fn state(&self) -> (u64, u64, u64) {
        let admin = self.client.admin();
        let topic = admin.describe_topic("events", false).await.unwrap();
        let group = admin.describe_group("g").await.unwrap();
        let partition = &topic.partitions[0];
        (partition.log_start.value(), partition.log_end.value(), group.offsets[0].offset.value())
    }

    pub(super) async fn stop(self) {
        drop(self.client);
        self.broker.stop().await.unwrap();
    }
}

fn restore_latest(disk: &MemDisk, dir: &str) {
    let disk = shared(disk);
    let from = (&*disk, Path::new("/b/nightly"));
    restore(from, &disk, Path::new(dir), uuid(3), Arc::new(SystemClock), |_| {}).unwrap();
}

/// Starts on what the latest backup holds.
async fn restored_state(disk: &MemDisk, dir: &str) -> (u64, u64, u64) {
    restore_latest(disk, dir);
    let run = Run::start(shared(disk), dir).await;
    let state = run.state().await;
    run.produce(0..1).await;
    assert_eq!(run.state().await.1, state.1 + 1, "it can be written to");
    run.stop().await;
    state
}

#[tokio::test]
async fn the_second_backup_of_a_running_broker_takes_only_new_data() {
    let disk = MemDisk::default();
    let run = Run::with_records(shared(&disk)).await;
    let first = run.back_up().await.unwrap();
    assert_eq!(restored_state(&disk, "/first").await, (0, 10, 10));
    run.produce(0..5).await;
    let second = run.back_up().await.unwrap();
    assert!(second.new_bytes < first.new_bytes, "{second:?} after {first:?}");
    let begun = disk.open(&Path::new(&second.path).join("begun")).unwrap().len().unwrap();
    assert_eq!(second.copied_bytes, begun, "all else has second names");
    run.produce(0..5).await;
    run.stop().await;
    assert_eq!(restored_state(&disk, "/second").await, (0, 15, 10));
    assert_eq!(disk.list(Path::new("/b/nightly")).unwrap().iter().filter(|entry| entry.is_dir).count(), 2);
}

#[tokio::test]
async fn the_time_of_the_newest_backup_is_known_after_a_restart() {
    let disk = MemDisk::default();
    let run = Run::with_records(shared(&disk)).await;
    run.back_up().await.unwrap();
    run.back_up().await.unwrap();
    run.stop().await;
    // Neither what cannot be read nor what another broker made counts.
    disk.create_dir_all(Path::new("/b/nightly/backup-000003")).unwrap();
    disk.create_dir_all(Path::new("/b/elsewhere/backup-000009")).unwrap();
    let other = NodeIdentity { cluster: uuid(8), node: NODE, uuid: uuid(9) };
    let manifest = BackupManifest::new(&other, Timestamp::from_millis(i64::MAX), std::collections::BTreeMap::new());
    let file = disk.create(Path::new("/b/elsewhere/backup-000009/backup.manifest")).unwrap();
    file.write_all_at(manifest.to_text().as_bytes(), 0).unwrap();

    let began = list(&disk, Path::new("/b/nightly")).unwrap()[1].manifest.as_ref().unwrap().created;
    let run = Run::start(shared(&disk), DATA).await;
    let found = async {
        while run.broker.newest_backup().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
    assert_eq!(run.broker.newest_backup(), Some(began));
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_search_for_backups_delays_neither_start_nor_stop() {
    let disk = MemDisk::default();
    let faulty = FaultDisk::new(disk.clone());
    let (begun, has_begun) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(parking_lot::Mutex::new(held));
    for nth in 0..1_000 {
        let (begun, held) = (begun.clone(), held.clone());
        faulty.faults().before(Call::List, nth, move || {
            if std::thread::current().name() == Some(SEARCH_THREAD) {
                begun.send(()).unwrap();
                let _ = held.lock().recv(); // Fails as soon as the test is over.
            }
        });
    }
    let run = Run::start(Arc::new(faulty), DATA).await;
    has_begun.recv_timeout(Duration::from_secs(20)).unwrap();
    tokio::time::timeout(Duration::from_secs(20), run.stop()).await.expect("the stop waits for the scan");
    let run = Run::start(shared(&disk), DATA).await;
    run.stop().await;
    drop(hold);
}

#[tokio::test]
async fn a_log_without_records_keeps_its_end_in_a_backup() {
    let disk = MemDisk::default();
    let run = Run::with_records(shared(&disk)).await;
    run.client.admin().trim_topic("events", [(0, Offset::new(10))]).await.unwrap();
    run.back_up().await.unwrap();
    run.stop().await;
    assert_eq!(restored_state(&disk, "/restored").await, (10, 10, 10));
}

#[tokio::test]
async fn no_producer_id_is_handed_out_twice() {
    let disk = MemDisk::default();
    let run = Run::with_records(shared(&disk)).await;
    run.back_up().await.unwrap();
    run.stop().await;
    restore_latest(&disk, "/restored");
    let run = Run::start(shared(&disk), "/restored").await;
    for end in 11..14 {
        run.produce(0..1).await; // With an id that the log knows it would be taken for a retry.
        assert_eq!(run.state().await.1, end);
    }
}

#[tokio::test]
async fn a_backup_on_another_volume_copies_everything_and_leaves_no_links() {
    let disk = MemDisk::default();
    let faulty = FaultDisk::new(disk.clone());
    let faults = faulty.faults();
    let run = Run::with_records(Arc::new(faulty)).await;
    let is_data = |path: &Path| path.starts_with(DATA);
    faults
        .rule(move |call, paths| (call == Call::Link && is_data(paths[0]) != is_data(paths[1])).then_some(Errno::XDEV));
    let made = run.back_up().await.unwrap();
    assert_eq!(made.copied_bytes, made.bytes);
    faults.heal();
    run.produce(0..5).await;
    let second = run.back_up().await.unwrap();
    assert!(second.new_bytes < made.new_bytes, "{second:?} after {made:?}");
    run.stop().await;
    assert!(!disk.files().iter().any(|path| path.starts_with("/data/backup.unfinished")));
    assert_eq!(restored_state(&disk, "/restored").await, (0, 15, 10));
}

#[tokio::test]
async fn without_hard_links_everything_is_copied_from_open_files() {
    let disk = MemDisk::default();
    let faulty = FaultDisk::new(disk.clone());
    faulty.faults().inject(Fault::other_volume(0).from_then_on());
    let run = Run::with_records(Arc::new(faulty)).await;
    let made = run.back_up().await.unwrap();
    assert_eq!(made.copied_bytes, made.bytes);
    run.produce(0..5).await;
    run.stop().await;
    assert_eq!(restored_state(&disk, "/restored").await, (0, 10, 10));
}

#[tokio::test]
async fn a_disk_that_fails_leaves_no_backup() {
    let disk = MemDisk::default();
    let faulty = FaultDisk::new(disk.clone());
    let faults = faulty.faults();
    let run = Run::with_records(Arc::new(faulty)).await;
    faults.inject(Fault::io(Call::Link, 0));
    assert!(run.back_up().await.unwrap_err().contains("link"), "it says why");
    assert!(!disk.list(Path::new("/b/nightly")).unwrap().iter().any(|entry| entry.is_dir), "nothing is left of it");
    run.back_up().await.unwrap();
    run.produce(0..1).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_no_partial_backup_and_no_damage() {
    for power in (0..900).step_by(7) {
        let disk = MemDisk::default();
        let faulty = FaultDisk::new(disk.clone());
        let faults = faulty.faults();
        let run = Run::with_records(Arc::new(faulty)).await;
        run.back_up().await.unwrap();
        run.produce(0..2).await;
        faults.lose_power_after(power);
        let made = tokio::time::timeout(Duration::from_secs(20), run.back_up()).await.unwrap().is_ok();
        drop(run);
        disk.crash_torn(power);
        let listed = list(&disk, Path::new("/b/nightly")).unwrap();
        assert!(listed.len() == 2 || !made && listed.len() == 1, "power {power}: {listed:?}");
        for listed in listed {
            let manifest = listed.manifest.as_ref().unwrap();
            assert_eq!(compare_all(&disk, &listed.path, manifest, |_| {}).unwrap(), [], "power {power}");
        }
        let state = restored_state(&disk, "/restored").await;
        assert!(((0, 10, 10)..=(0, 12, 10)).contains(&state), "power {power}: {state:?}");
        let run = Run::start(shared(&disk), DATA).await;
        assert_eq!(run.state().await, (0, 12, 10), "power {power}: the data is as it was");
        run.back_up().await.unwrap();
        run.stop().await;
        if made {
            return;
        }
    }
    panic!("it never ends");
}
