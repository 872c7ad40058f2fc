//! The introduction after the preface: each side learns what the other lacks.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// Something that not every build can do. Sent by name, so that an older side can say which it has never heard of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Feature(pub String);

impl Feature {
    pub(super) const POSITION_COMMITS: &'static str = "position-commits";
    pub(super) const GROUP_MEMORY: &'static str = "group-memory";

    /// What this build can do.
    pub fn ours() -> Vec<Self> {
        ["groups", "idempotence", Self::POSITION_COMMITS, Self::GROUP_MEMORY].map(|name| Self(name.to_owned())).to_vec()
    }

    /// Those of `wanted` that `offered` lacks, in order.
    pub fn missing(wanted: &[Self], offered: &[Self]) -> Vec<Self> {
        wanted.iter().filter(|feature| !offered.contains(feature)).cloned().collect()
    }
}

/// The client's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which program: `grower-client`.
    pub software: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub features: Vec<Feature>,
}

/// The broker's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// Which program: `grower-broker`.
    pub software: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub features: Vec<Feature>,
    /// What the client can do and this broker cannot.
    pub unknown_features: Vec<Feature>,
    /// Which cluster it belongs to.
    pub cluster_id: String,
    /// Which node of it.
    pub node: NodeId,
    /// The longest frame it accepts, in bytes.
    pub frame_bytes_max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_learns_what_the_other_lacks() {
        let feature = |name: &str| Feature(name.to_owned());
        let (old, new) = (vec![feature("groups")], vec![feature("groups"), feature("queues")]);
        assert_eq!(Feature::missing(&new, &old), [feature("queues")]);
        assert_eq!(Feature::missing(&old, &new), []);
    }
}
