//! The table of request kinds: `requests!` turns its rows into [`Request`](super::Request) and one [`RequestKind`] a row.

use super::{ErrorCode, Failure};

/// What holds for every request of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKind {
    /// Its number on the wire: the first byte of the encoded request.
    pub number: u8,
    /// Its name in [`Request`](super::Request).
    pub name: &'static str,
    /// The [feature](super::Feature) of brokers that know it; none if all do.
    pub feature: Option<&'static str>,
    /// What it takes of a broker's memory.
    pub memory: MemoryUse,
}

/// What a request takes of a broker's memory from its arrival to its answer, beside the frame that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// A multiple of its length: its decoded form, and an answer that grows with it.
    Message,
    /// Little: records are appended and sent without copies.
    Records,
    /// As much as all that the broker has may take in a list, however short the request is.
    List,
}

/// The parts of a request, which are bounded so that the answer fits a message: a name takes two bytes, and to say that
/// there is no such topic takes a hundred.
pub(super) enum RequestParts {
    /// One for each topic named.
    Topics(usize),
    /// One for each partition named.
    Partitions(usize),
}

/// As many topics as a cluster can have.
const TOPICS_MAX: usize = 20_000;
/// As many partitions as a cluster can have.
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

impl RequestParts {
    /// Refuses too many.
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

/// Defines the requests. A row says
///
/// - `number => Name`, with the message in the form of an enum variant,
/// - `feature:` of brokers that know the request, if not all do,
/// - `memory:` a [`MemoryUse`] other than `Message`,
/// - `parts:` a pattern for the message, and the [`RequestParts`] of what it matches, if their number is bounded.
macro_rules! requests {
    ($(
        $(#[$doc:meta])*
        $number:literal => $name:ident $(($($tuple:tt)*))? $({ $($fields:tt)* })?
        $(, feature: $feature:expr)?
        $(, memory: $memory:ident)?
        $(, parts: $pattern:tt => $unit:ident($count:expr))?;
    )*) => {
        /// What a client asks.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Request {
            $($(#[$doc])* $name $(($($tuple)*))? $({ $($fields)* })?,)*
        }

        impl RequestKind {
            /// All kinds, by number.
            pub const ALL: &[Self] = &[
                $(Self::new($number, stringify!($name))$(.feature($feature))?$(.memory(MemoryUse::$memory))?,)*
            ];

            /// The kind of an encoded request, of which the first byte is enough.
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
            /// What holds for all requests like this one.
            pub fn kind(&self) -> &'static RequestKind {
                match self {
                    $(Self::$name { .. } => &RequestKind::ALL[$number],)*
                }
            }

            /// Refuses a request of more parts than a cluster can have.
            pub fn check_parts(&self) -> Result<(), Failure> {
                match self {
                    $($(Self::$name $pattern => RequestParts::$unit($count).check(),)?)*
                    _ => Ok(()),
                }
            }
        }
    };
}

pub(super) use requests;
