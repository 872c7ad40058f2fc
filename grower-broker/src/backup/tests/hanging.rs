//! The file system that backups go to does not answer: that holds up the backup, and nothing else.

use super::running::Run;
use super::*;
use grower_client::TopicSpec;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Far longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where calls hang.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    /// How many calls still come back.
    answers: usize,
    /// A call is hanging.
    is_hanging: bool,
    is_open: bool,
}

impl Gate {
    /// Everything below `/b/nightly` hangs after this many calls.
    fn hang_after(answers: usize, faults: &Faults) -> Arc<Self> {
        let gate =
            Arc::new(Self { state: Mutex::new(GateState { answers, ..GateState::default() }), ..Self::default() });
        let asked = gate.clone();
        faults.rule(move |call, paths| {
            let is_there = |path: &&Path| path.starts_with("/b/nightly");
            if paths.iter().any(is_there) {
                asked.pass();
            }
            (call == Call::Link && is_there(&paths[0]) != is_there(&paths[1])).then_some(Errno::XDEV)
        });
        gate
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        if 0 < state.answers {
            state.answers -= 1;
            return;
        }
        state.is_hanging = true;
        self.changed.notify_all();
        while !state.is_open {
            self.changed.wait(&mut state);
        }
    }

    fn wait_until_hanging(&self) {
        let mut state = self.state.lock();
        while !state.is_hanging {
            assert!(!self.changed.wait_for(&mut state, PATIENCE).timed_out(), "nothing hangs");
        }
    }

    fn open(&self) {
        self.state.lock().is_open = true;
        self.changed.notify_all();
    }
}

/// Ends the stall, after a panic as well.
struct OpenAtLast(Arc<Gate>);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} waits for the backup"))
}

/// All that a broker does while a backup hangs.
async fn use_it(run: &Run) {
    let admin = run.client.admin();
    soon("a producer that rolls segments", run.produce(10..20)).await;
    soon("a trim", admin.trim_topic("events", [(0, Offset::new(7))])).await.unwrap();
    soon("a commit", admin.reset_group("g", [("events", 0, Offset::new(20))])).await.unwrap();
    soon("a new topic", admin.create_topic("new", TopicSpec::partitions(2))).await.unwrap();
    soon("a change", admin.alter_topic("new", [("retention.ms", Some("1000".to_owned()))])).await.unwrap();
    soon("more partitions", admin.grow_topic("new", 3)).await.unwrap();
    soon("a deletion", admin.delete_topic("new")).await.unwrap();
}

/// The backup hangs after this many calls; then it is cancelled, or the broker stops.
async fn hangs_after(answers: usize, cancelled: bool) {
    let disk = MemDisk::default();
    let faulty = FaultDisk::new(disk.clone());
    let faults = faulty.faults();
    let run = Run::with_records(Arc::new(faulty)).await;
    let gate = Gate::hang_after(answers, &faults);
    let _opened = OpenAtLast(gate.clone());
    let admin = run.client.admin();
    admin.begin_backup("nightly", false).await.unwrap();
    let hanging = gate.clone();
    crate::background::blocking(move || hanging.wait_until_hanging()).await.unwrap();

    use_it(&run).await;
    let second = admin.begin_backup("elsewhere", false).await.unwrap_err().to_string();
    assert!(second.contains("is being made"), "{second}");
    if cancelled {
        admin.cancel_backup().await.unwrap();
        let ended = soon("the end of the backup", run.end_of_backup()).await.unwrap_err();
        assert!(ended.contains("does not answer"), "{ended}");
        soon("a backup elsewhere", run.back_up_to("elsewhere")).await.unwrap();
    }
    soon("the stop", run.stop()).await;
    gate.open();
    let run = Run::start(shared(&disk), DATA).await;
    assert_eq!(run.state().await, (7, 20, 20));
    soon("a later backup", run.back_up()).await.unwrap();
    run.stop().await;
    assert!(!disk.files().iter().any(|path| path.starts_with("/data/backup.unfinished")));
}

/// How many calls a backup makes where it goes.
async fn calls() -> usize {
    let faulty = FaultDisk::new(MemDisk::default());
    let faults = faulty.faults();
    let run = Run::with_records(Arc::new(faulty)).await;
    let gate = Gate::hang_after(usize::MAX, &faults);
    run.back_up().await.unwrap();
    run.stop().await;
    usize::MAX - gate.state.lock().answers
}

/// From the first call to the last.
async fn at_several_points(cancelled: bool) {
    const POINTS: usize = 6;
    let last = calls().await - 1;
    let mut tasks = tokio::task::JoinSet::new();
    (0..=POINTS).for_each(|point| drop(tasks.spawn(hangs_after(last * point / POINTS, cancelled))));
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_works_while_a_backup_hangs_and_the_backup_can_be_cancelled() {
    at_several_points(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_backup_does_not_delay_the_stop_of_the_broker() {
    at_several_points(false).await;
}
