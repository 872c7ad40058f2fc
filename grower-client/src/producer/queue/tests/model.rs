//! Random faults against the model: what the log and the outcomes promise.

use super::*;
use proptest::prelude::*;

impl World {
    /// Checks that no message that still waits anywhere changes the log once a flush has ended.
    fn check_definite(&self) {
        let mut later = self.broker.clone();
        for message in self.lost_wires.iter().flatten() {
            message.clone().handle(&mut later);
        }
        assert_eq!(later.log(), self.broker.log(), "a batch reached the log although its outcome was definite");
    }

    /// Checks the outcome of each record against the log.
    fn check(mut self) {
        let log = self.broker.log();
        assert!(log.is_sorted_by(|a, b| a < b), "the log is out of order or has duplicates: {log:?}");
        for (value, outcome) in self.sent.drain(..).flat_map(SentRecords::outcomes) {
            match outcome.unwrap_or_else(|| panic!("record {value} is stuck")) {
                Ok(ack) => {
                    let offset = ack.offset.unwrap().value() as usize;
                    assert_eq!(log.get(offset), Some(&value), "record {value} was acknowledged at {offset}: {log:?}");
                }
                Err(error) if error.outcome() == Outcome::Refused => {
                    assert!(!log.contains(&value), "record {value} was refused and is there: {error}");
                }
                Err(_) => {}
            }
        }
        assert!(self.in_flight_seen <= 5, "{} batches were on their way", self.in_flight_seen);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let code = prop::sample::select(vec![ErrorCode::DiskFull, ErrorCode::NotLeader, ErrorCode::InvalidRecord]);
    prop_oneof![
        3 => (1u32..8).prop_map(Event::Push),
        3 => (1u32..8).prop_map(Event::PushBriefly),
        4 => (1u32..12).prop_map(Event::PushMany),
        8 => Just(Event::Handle),
        8 => any::<usize>().prop_map(Event::Answer),
        2 => code.prop_map(Event::Refuse),
        1 => (0usize..6).prop_map(Event::Cut),
        2 => Just(Event::Stall),
        3 => any::<usize>().prop_map(Event::Land),
        1 => (0usize..6).prop_map(Event::Restart),
        1 => Just(Event::Forget),
        1 => Just(Event::RefuseId),
        1 => Just(Event::Renew),
        2 => Just(Event::Wait),
        2 => Just(Event::TimeOut),
        1 => prop::option::of(1u32..3).prop_map(Event::RecordsMax),
        1 => any::<bool>().prop_map(Event::NoIdentities),
        1 => (prop::option::of(2u32..9), 0usize..3).prop_map(|(divisor, named)| Event::RefuseRecords(divisor, named)),
    ]
}

proptest! {
    #[test] // `PROPTEST_CASES` sets the number of cases.
    fn stalls_and_faults_never_reorder_duplicate_or_block_records(
        named: bool,
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = if named { World::named() } else { World::new() };
        for event in events {
            world.apply(event);
            if world.is_definite() {
                world.check_definite();
            }
        }
        world.heal();
        assert!(world.is_definite(), "a fence is stuck");
        world.check_definite();
        world.check();
    }
}
