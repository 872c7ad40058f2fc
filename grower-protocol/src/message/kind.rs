//! The table of request kinds: `requests!` turns its rows into [`Request`](super::Request) and one [`RequestKind`] a
//! row.

use super::{ErrorCode, Failure};

/// The properties of all requests of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKind {
    /// The number on the wire: the first byte of the encoded request.
    pub number: u8,
    /// The name of the variant of [`Request`](super::Request).
    pub name: &'static str,
    /// The [feature](super::Feature) of brokers that know the kind; none if all do.
    pub feature: Option<&'static str>,
    /// The memory that a request takes in a broker.
    pub memory: MemoryUse,
}

/// The memory that a request takes in a broker from its arrival to its answer, without its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// A multiple of its length, for its decoded form and an answer that grows with it.
    Message,
    /// Little, because records are appended and sent without copies.
    Records,
    /// The size of a list of everything that the broker holds, even for a short request.
    List,
}

/// The number of parts of a request. It is bounded so that the answer fits a message: a name takes two bytes, but the
/// error about an unknown topic takes a hundred.
pub(super) enum PartCount {
    /// The number of topics in the request.
    Topics(usize),
    /// The number of partitions in the request.
    Partitions(usize),
}

/// The largest number of topics in a cluster.
const TOPICS_MAX: usize = 20_000;
/// The largest number of partitions in a cluster.
const PARTITIONS_MAX: usize = 100_000;

impl RequestKind {
    pub(super) const fn new(number: u8, name: &'static str) -> Self {
        Self { number, name, feature: None, memory: MemoryUse::Message }
    }

    pub(super) const fn feature(self, feature: &'static str) -> Self {
        Self { feature: Some(feature), ..self }
    }

    pub(super) const fn memory(self, memory: MemoryUse) -> Self {
        Self { memory, ..self }
    }
}

impl PartCount {
    /// Refuses more parts than a cluster can have.
    pub(super) fn check(self) -> Result<(), Failure> {
        let (parts, limit, what) = match self {
            Self::Topics(topics) => (topics, TOPICS_MAX, "topics"),
            Self::Partitions(partitions) => (partitions, PARTITIONS_MAX, "partitions"),
        };
        if parts <= limit {
            return Ok(());
        }
        let detail = format_args!("a request may name {limit} {what}, this one names {parts}: ask in parts");
        Err(Failure::new(ErrorCode::InvalidRequest, detail))
    }
}

/// Defines the requests. A row gives
///
/// - `number => Name`, with the message in the form of an enum variant,
/// - `feature:` of brokers that know the request, if not all do,
/// - `memory:` its [`MemoryUse`], if not `Message`,
/// - `parts:` a pattern for the message, and the [`PartCount`] of what it matches, if their number is bounded.
macro_rules! requests {
    ($(
        $(#[$doc:meta])*
        $number:literal => $name:ident $(($($tuple:tt)*))? $({ $($fields:tt)* })?
        $(, feature: $feature:expr)?
        $(, memory: $memory:ident)?
        $(, parts: $pattern:tt => $unit:ident($count:expr))?;
    )*) => {
        /// A request of a client.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Request {
            $($(#[$doc])* $name $(($($tuple)*))? $({ $($fields)* })?,)*
        }

        impl RequestKind {
            /// All kinds, sorted by number.
            pub const ALL: &[Self] = &[
                $(Self::new($number, stringify!($name))$(.feature($feature))?$(.memory(MemoryUse::$memory))?,)*
            ];

            /// Returns the kind of an encoded request, by its first byte.
            pub fn of_encoded(message: &[u8]) -> Option<&'static Self> {
                Self::ALL.get(usize::from(*message.first()?))
            }
        }

        // The encoding counts the variants: a row may only be added, at the end.
        const _: () = {
            let mut number = 0;
            while number < RequestKind::ALL.len() {
                assert!(RequestKind::ALL[number].number as usize == number, "requests are numbered from 0, in order");
                number += 1;
            }
        };

        impl Request {
            /// Returns the kind of the request.
            pub fn kind(&self) -> &'static RequestKind {
                match self {
                    $(Self::$name { .. } => &RequestKind::ALL[$number],)*
                }
            }

            /// Refuses a request of more parts than a cluster can have.
            pub fn check_parts(&self) -> Result<(), Failure> {
                match self {
                    $($(Self::$name $pattern => PartCount::$unit($count).check(),)?)*
                    _ => Ok(()),
                }
            }
        }
    };
}

pub(super) use requests;
