//! The smallest producer ids and leader epochs to use next, when the metadata may not know all that were used.
//!
//! A restored backup, an older copy of the metadata directory and a rolled-back file system all forget producer ids
//! and leader epochs that clients still hold. A number that is used twice loses records silently: the second
//! producer's batches count as retries of the first one's, and a reader cannot tell two logs apart.
//!
//! New numbers stay above old ones by two means. A margin above the newest known number is larger than the lost time
//! can have used. A number from the clock also rises between two restores of one backup. A wrong clock still leaves
//! the margin, and a number never falls.

use super::{Command, Image};
use grower_protocol::ids::{LeaderEpoch, ProducerId, Timestamp};

/// 2020-01-01, in milliseconds since the Unix epoch.
const CLOCK_START_MS: i64 = 1_577_836_800_000;
/// The latest accepted time, 2^40 ms after the start (the year 2054): a wrong clock must not exhaust the numbers.
const CLOCK_MS_MAX: u64 = 1 << 40;
/// Producer ids for each millisecond of the clock. With [`CLOCK_MS_MAX`] they stay below 2^53, which JSON readers can
/// read.
const PRODUCER_IDS_EACH_MS: u64 = 1 << 12;
/// Ids of named producers for each millisecond: with [`CLOCK_MS_MAX`] they are half of [`ProducerId::NAMED`].
const NAMED_IDS_EACH_MS: u64 = 1 << 10;
/// More producer ids than a lost time can have allocated.
const PRODUCER_ID_MARGIN: u64 = 1 << 40;
/// More starts than a lost time can have had: each raises the leader epochs by one.
const LEADER_EPOCH_MARGIN: u32 = 1 << 20;
/// Kafka's wire carries leader epochs as i32.
const LEADER_EPOCH_MAX: u32 = i32::MAX as u32;

/// The smallest producer id for a block that is allocated now.
pub(crate) fn minimum_producer_id(now: Timestamp) -> ProducerId {
    ProducerId::new(clock_ms(now) * PRODUCER_IDS_EACH_MS)
}

/// The smallest id for a producer's name that needs a fresh one now.
pub(crate) fn minimum_named_id(now: Timestamp) -> ProducerId {
    ProducerId::new(ProducerId::NAMED.start.value() + clock_ms(now) * NAMED_IDS_EACH_MS)
}

/// The command that raises all numbers above those that may be in use without this image's knowledge. `seen` is the
/// latest leader epoch in the logs, which may be ahead of the image.
pub(crate) fn raise_minimum_ids(image: &Image, seen: Option<LeaderEpoch>, now: Timestamp) -> Command {
    let known = image.topics().flat_map(|topic| &topic.partitions).map(|partition| partition.leader_epoch).max();
    let known = known.max(seen).unwrap_or_default().value();
    let by_clock = u32::try_from(clock_ms(now) / 1_000).unwrap_or(u32::MAX);
    let leader_epoch = known.saturating_add(LEADER_EPOCH_MARGIN).max(by_clock).min(LEADER_EPOCH_MAX);
    let producer = image.next_producer.value().saturating_add(PRODUCER_ID_MARGIN);
    Command::RaiseMinimumIds {
        producer: ProducerId::new(producer).max(minimum_producer_id(now)),
        leader_epoch: LeaderEpoch::new(leader_epoch),
    }
}

fn clock_ms(now: Timestamp) -> u64 {
    now.millis_since(Timestamp::from_millis(CLOCK_START_MS)).min(CLOCK_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTORED: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn numbers(command: &Command) -> (u64, u32) {
        match command {
            Command::RaiseMinimumIds { producer, leader_epoch } => (producer.value(), leader_epoch.value()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_clock_still_leaves_a_margin() {
        let image = Image { next_producer: ProducerId::new(7), ..Image::default() };
        for now in [Timestamp::from_millis(i64::MIN), Timestamp::from_millis(0)] {
            let (producer, epoch) = numbers(&raise_minimum_ids(&image, Some(LeaderEpoch::new(9)), now));
            assert_eq!((producer, epoch), (7 + PRODUCER_ID_MARGIN, 9 + LEADER_EPOCH_MARGIN));
        }
    }

    #[test]
    fn a_later_restore_of_the_same_backup_begins_above_an_earlier_one() {
        let image = Image::default();
        let first = numbers(&raise_minimum_ids(&image, None, RESTORED));
        let second = numbers(&raise_minimum_ids(&image, None, RESTORED.plus_millis(1_000)));
        assert!(first.0 < second.0 && first.1 < second.1, "{first:?} {second:?}");
    }

    #[test]
    fn numbers_never_leave_the_range_of_the_wire() {
        let image = Image { next_producer: ProducerId::new(i64::MAX as u64 - 1), ..Image::default() };
        let (_, epoch) = numbers(&raise_minimum_ids(&image, Some(LeaderEpoch::new(u32::MAX)), Timestamp::MAX));
        assert_eq!(epoch, LEADER_EPOCH_MAX);
        assert!(minimum_producer_id(Timestamp::MAX).value() <= 1 << 53);
        assert!(minimum_named_id(Timestamp::MAX).is_named());
        let mut image = image;
        image.apply(raise_minimum_ids(&image, None, RESTORED)).unwrap();
        assert_eq!(
            image.apply(Command::AllocateProducerIds { count: 1 }),
            Err(crate::metadata::MetadataRefusal::ProducerIdsExhausted)
        );
    }
}
