//! Offsets, epochs, sequences, timestamps and ids: each number is a type of its own.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Position of a record in its partition: dense, starts at 0, never reused. It is below 2^63, as the wire requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);
    /// The largest offset that the wire can carry.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Wraps the plain number. Bytes from outside go through [`Offset::from_wire`].
    ///
    /// # Panics
    /// Above [`Offset::MAX`].
    pub const fn new(raw: u64) -> Self {
        assert!(raw <= i64::MAX as u64, "offsets stay below 2^63");
        Self(raw)
    }

    /// Reads the wire's `-1`-means-absent form.
    pub fn from_wire(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// The wire's form.
    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// The plain number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The offset `records` later; none above [`Offset::MAX`].
    pub fn checked_add(self, records: u64) -> Option<Self> {
        self.0.checked_add(records).filter(|sum| *sum <= Self::MAX.0).map(Self)
    }

    /// The offset `records` later, at most [`Offset::MAX`].
    pub fn saturating_add(self, records: u64) -> Self {
        self.checked_add(records).unwrap_or(Self::MAX)
    }

    /// The number of offsets in `earlier..self`; 0 if that range is empty.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Offset> for u64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl TryFrom<u64> for Offset {
    type Error = &'static str;
    fn try_from(raw: u64) -> Result<Self, Self::Error> {
        if raw <= Self::MAX.0 { Ok(Self(raw)) } else { Err("offset is 2^63 or more") }
    }
}

/// Milliseconds since the Unix epoch. Producers may send any value, including negative ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest timestamp.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// Wraps milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The milliseconds from `earlier` to this timestamp; 0 if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(i128::from(self.0) - i128::from(earlier.0)).unwrap_or(0)
    }

    /// The timestamp `millis` milliseconds later, at most [`Timestamp::MAX`].
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
    }
}

/// The sequence number that an idempotent producer gives each record of a partition. It wraps from 2^31-1 to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequence(i32);

impl Sequence {
    /// The first sequence number of every producer.
    pub const ZERO: Self = Self(0);

    /// Reads the wire's negative-means-absent form.
    pub fn from_wire(raw: i32) -> Option<Self> {
        (0 <= raw).then_some(Self(raw))
    }

    /// The wire's form.
    pub const fn to_wire(self) -> i32 {
        self.0
    }

    /// The sequence number `records` later, wrapped at 2^31.
    pub const fn wrapping_add(self, records: u32) -> Self {
        Self(((self.0 as u32).wrapping_add(records) & i32::MAX as u32) as i32)
    }
}

/// Defines a counter or an id: a number with a constructor, its value, its successor and its decimal form.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name($raw);

        impl $name {
            /// Wraps the plain number.
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The plain number.
            pub const fn value(self) -> $raw {
                self.0
            }

            /// The next number, at most the largest.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                Self(raw)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Number of a partition within its topic, from 0.
    PartitionId(u32)
);
number!(
    /// Counts the leaderships of a partition. A new epoch is durable before its first append.
    LeaderEpoch(u32)
);
number!(
    /// Counts the changes of a group member's assignment. A member joins with 0.
    MemberEpoch(u32)
);
number!(
    /// Id of a broker in the cluster.
    NodeId(u32)
);
number!(
    /// Id of an idempotent producer. The broker allocates each id once.
    ProducerId(u64)
);
number!(
    /// Counts the incarnations of one producer id; a newer one fences older ones.
    ProducerEpoch(u16)
);

number!(
    /// Random number of a producer that claims a name. It tells repeats of one claim from the claims of others.
    ProducerHolder(u64)
);

impl LeaderEpoch {
    /// Reads the wire's `-1`-means-absent form.
    pub fn from_wire(raw: i32) -> Option<Self> {
        u32::try_from(raw).ok().map(Self)
    }

    /// The wire's form.
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl ProducerId {
    /// The ids of named producers. JSON readers can read them, and no other producer gets one.
    pub const NAMED: Range<Self> = Self(3 << 51)..Self(1 << 53);

    /// Whether the id belongs to a named producer, so that only the identity that its name has now may write.
    pub const fn is_named(self) -> bool {
        Self::NAMED.start.0 <= self.0 && self.0 < Self::NAMED.end.0
    }

    /// Reads the wire's `-1`-means-absent form.
    pub fn from_wire(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// The wire's form.
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl ProducerEpoch {
    /// The last epoch that the wire can carry.
    pub const MAX: Self = Self(i16::MAX as u16);

    /// Reads the wire's `-1`-means-absent form.
    pub fn from_wire(raw: i16) -> Option<Self> {
        u16::try_from(raw).ok().map(Self)
    }

    /// The wire's form.
    pub fn to_wire(self) -> i16 {
        i16::try_from(self.0).unwrap_or(i16::MAX)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_number_on_the_wire_is_none() {
        assert_eq!(Offset::from_wire(-1), None);
        assert_eq!(Sequence::from_wire(-1), None);
        assert_eq!(ProducerId::from_wire(-1), None);
        assert_eq!(LeaderEpoch::from_wire(-1), None);
        assert_eq!(Offset::from_wire(7), Some(Offset::new(7)));
    }

    #[test]
    fn offsets_stop_at_the_limit_of_the_wire() {
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::MAX.saturating_add(9), Offset::MAX);
        assert!(Offset::try_from(1 << 63).is_err());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = Sequence::from_wire(i32::MAX).unwrap();
        assert_eq!(last.wrapping_add(1), Sequence::ZERO);
        assert_eq!(last.wrapping_add(3).to_wire(), 2);
    }

    #[test]
    fn ids_of_named_producers_are_apart_from_all_others() {
        assert!(!ProducerId::new((3 << 51) - 1).is_named());
        assert!(ProducerId::NAMED.start.is_named());
        assert!(ProducerId::new((1 << 53) - 1).is_named());
        assert!(!ProducerId::NAMED.end.is_named());
    }

    #[test]
    fn time_arithmetic_never_overflows() {
        assert_eq!(Timestamp::MAX.millis_since(Timestamp::MIN), u64::MAX);
        assert_eq!(Timestamp::MIN.millis_since(Timestamp::MAX), 0);
        assert_eq!(Timestamp::MAX.plus_millis(1), Timestamp::MAX);
    }
}
