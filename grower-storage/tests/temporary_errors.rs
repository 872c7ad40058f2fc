//! An error after which the disk is known fails no log, whichever call it strikes: the operation is tried again.

mod log_kit;

use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Call, Fault};
use grower_storage::log::{AppendError, ChangeError, Log, LogFiles, LogOptions, RetentionLimits, TryAppend};
use log_kit::{World, batch_of, options};

/// Every kind of call but syncs: after one that fails nothing is known.
const CALLS: [Call; 13] = [
    Call::Create,
    Call::Open,
    Call::OpenDir,
    Call::Read,
    Call::List,
    Call::Stat,
    Call::Write,
    Call::SetLen,
    Call::Allocate,
    Call::CreateDir,
    Call::Rename,
    Call::Remove,
    Call::Link,
];

type Step = fn(&mut World) -> Result<(), ChangeError>;

/// A log's life: the first batch, rolls, a new leader, checkpoints, a seal, retention and a trim.
const STEPS: [Step; 14] = [
    append, append, append, flush, append, new_leader, append, checkpoint, append, seal, append, retain, append,
    trim_all,
];

fn append(world: &mut World) -> Result<(), ChangeError> {
    match world.append(2, 90) {
        Ok(_) => Ok(()),
        Err(AppendError::Disk(error)) => Err(ChangeError::Disk(error)),
        Err(AppendError::Failed(failed)) => Err(ChangeError::Failed(failed)),
        Err(error) => panic!("{error}"),
    }
}

fn flush(world: &mut World) -> Result<(), ChangeError> {
    assert!(world.flush());
    Ok(())
}

fn new_leader(world: &mut World) -> Result<(), ChangeError> {
    world.log.begin_epoch(LeaderEpoch::new(world.epoch + 1))?;
    world.epoch += 1;
    Ok(())
}

fn checkpoint(world: &mut World) -> Result<(), ChangeError> {
    world.log.checkpoint(Timestamp::from_millis(world.now))
}

fn seal(world: &mut World) -> Result<(), ChangeError> {
    world.log.seal(Timestamp::from_millis(world.now)).map(|_| ())
}

fn retain(world: &mut World) -> Result<(), ChangeError> {
    let limits = RetentionLimits { messages: Some(8), ..RetentionLimits::default() };
    let start = world.log.retain(Timestamp::from_millis(world.now), &limits, Offset::MAX)?;
    world.start = start.value();
    Ok(())
}

fn trim_all(world: &mut World) -> Result<(), ChangeError> {
    let end = world.end();
    world.trim(end)
}

fn preallocating() -> LogOptions {
    LogOptions { preallocate_bytes: 4096, ..options() }
}

/// How many calls of a kind the life takes when nothing fails.
fn calls_of_a_life(call: Call) -> u64 {
    let mut world = World::new(preallocating());
    STEPS.iter().for_each(|step| step(&mut world).unwrap());
    world.faults.calls(call)
}

fn check_retried(fault: fn(Call, u64) -> Fault) {
    for call in CALLS {
        for nth in 0..calls_of_a_life(call) {
            let mut world = World::new(preallocating());
            world.faults.inject(fault(call, nth));
            for (at, step) in STEPS.iter().enumerate() {
                match step(&mut world) {
                    Ok(()) => {}
                    Err(ChangeError::Disk(_)) => {
                        step(&mut world).unwrap_or_else(|error| panic!("step {at} after {call:?} {nth}: {error}"));
                    }
                    Err(error) => panic!("step {at}, {call:?} {nth}: {error}"),
                }
            }
            world.check();
            append(&mut world).unwrap();
            assert!(world.flush());
            let end = world.end();
            let report = world.cut_power(None);
            assert!(report.damaged.is_empty() && report.cut.is_none(), "{call:?} {nth}: {report:?}");
            world.settle(end);
        }
    }
}

#[test]
fn too_few_descriptors_at_any_call_only_delays_an_operation() {
    check_retried(Fault::no_descriptors);
}

#[test]
fn a_full_disk_at_any_call_only_delays_an_operation() {
    check_retried(Fault::full);
}

#[test]
fn a_change_that_an_error_interrupted_survives_a_later_power_cut() {
    for call in CALLS {
        for nth in 0..calls_of_a_life(call) {
            let mut world = World::new(preallocating());
            world.faults.inject(Fault::no_descriptors(call, nth));
            for step in STEPS {
                if step(&mut world).is_err() {
                    // A larger limit would let the active segment take what comes, had the roll been forgotten.
                    world.log.configure(LogOptions { segment_bytes: 1 << 20, ..preallocating() });
                    world.start = world.log.span().start.value(); // Which a trim moves before it removes files.
                }
            }
            assert!(world.flush());
            let durable = world.log.durable_end().value();
            for torn in [None, Some(nth)] {
                let report = world.cut_power(torn);
                assert!(report.damaged.is_empty(), "{call:?} {nth}: {report:?}");
                world.settle(durable);
            }
        }
    }
}

#[test]
fn a_batch_that_was_cut_short_is_removed_before_the_next_is_written() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..options() });
    append(&mut world).unwrap();
    let (writes, cuts) = (world.faults.calls(Call::Write), world.faults.calls(Call::SetLen));
    world.faults.inject(Fault::full(Call::Write, writes).after_bytes(50));
    world.faults.inject(Fault::no_descriptors(Call::SetLen, cuts));
    assert!(matches!(append(&mut world), Err(ChangeError::Disk(_))));
    append(&mut world).unwrap();
    assert!(world.flush());
    assert!(world.cut_power(None).cut.is_none());
    world.settle(4);
}

#[test]
fn a_segment_that_may_not_grow_gets_a_successor() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..options() });
    append(&mut world).unwrap();
    let writes = world.faults.calls(Call::Write);
    world.faults.inject(Fault::too_large(Call::Write, writes).after_bytes(20));
    assert!(world.append(1, 30).unwrap().rolled);
    assert_eq!(world.log.reader().segments().len(), 2);
    assert!(world.flush());
    assert!(world.cut_power(None).damaged.is_empty());
    world.settle(3);
}

#[test]
fn a_tried_append_never_rolls_a_segment_that_may_not_grow() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..options() });
    append(&mut world).unwrap();
    for fault in [Fault::too_large, Fault::full] {
        let (writes, syncs) = (world.faults.calls(Call::Write), world.faults.calls(Call::Sync));
        world.faults.inject(fault(Call::Write, writes).after_bytes(20));
        let (epoch, now) = (LeaderEpoch::new(world.epoch), Timestamp::from_millis(world.now));
        let end = Some(world.log.span().end);
        let tried = world.log.try_append(batch_of(9, 1, 30, 0, world.now).expecting_end(end), epoch, now);
        let Ok(TryAppend::WouldWait(batch)) = tried else { panic!("{tried:?}") };
        assert_eq!(batch.expected_end(), end, "it still expects the same end when it is appended later");
        assert_eq!((world.log.reader().segments().len(), world.faults.calls(Call::Sync)), (1, syncs));
    }
    append(&mut world).unwrap(); // As if it had never been tried.
    assert!(world.flush());
    assert!(world.cut_power(None).damaged.is_empty());
    world.settle(4);
}

#[test]
fn appends_continue_in_the_old_segment_while_no_next_one_can_be_created() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..preallocating() });
    append(&mut world).unwrap();
    let index = world.faults.calls(Call::Create) + 1; // A snapshot of the producers comes first.
    world.faults.inject(Fault::no_descriptors(Call::Create, index).from_then_on());
    assert!(matches!(seal(&mut world), Err(ChangeError::Disk(_))));
    append(&mut world).unwrap();
    assert!(world.flush());
    world.check();
    let end = world.end();
    let report = world.cut_power(None);
    assert!(report.damaged.is_empty() && report.cut.is_none(), "{report:?}");
    world.settle(end);
}
