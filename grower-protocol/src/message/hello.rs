//! The first exchange after the preface: each side learns which features the other lacks.

use super::RequestKind;
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A feature that not every build has. It is sent by name, so that an older side can list the features unknown to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Feature(pub String);

impl Feature {
    /// The features of this build: those of all its requests, sorted.
    pub fn ours() -> Vec<Self> {
        let of_requests = RequestKind::ALL.iter().filter_map(|kind| kind.feature);
        let names: BTreeSet<_> = ["groups", "idempotence"].into_iter().chain(of_requests).collect();
        names.into_iter().map(|name| Self(name.to_owned())).collect()
    }

    /// The features of `wanted` that `offered` lacks, in order.
    pub fn missing(wanted: &[Self], offered: &[Self]) -> Vec<Self> {
        wanted.iter().filter(|feature| !offered.contains(feature)).cloned().collect()
    }
}

/// Introduces a client to a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name of the program: `grower-client`.
    pub software: String,
    /// The program's version.
    pub version: String,
    /// The features of this side.
    pub features: Vec<Feature>,
}

/// Introduces a broker to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The name of the program: `grower-broker`.
    pub software: String,
    /// The program's version.
    pub version: String,
    /// The features of this side.
    pub features: Vec<Feature>,
    /// The client's features that this broker lacks.
    pub unknown_features: Vec<Feature>,
    /// The id of the broker's cluster.
    pub cluster_id: String,
    /// The broker's id in the cluster.
    pub node: NodeId,
    /// The longest frame in bytes that the broker accepts.
    pub frame_bytes_max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_features_are_listed_in_order() {
        let feature = |name: &str| Feature(name.to_owned());
        let (old, new) = (vec![feature("groups")], vec![feature("groups"), feature("queues")]);
        assert_eq!(Feature::missing(&new, &old), [feature("queues")]);
        assert_eq!(Feature::missing(&old, &new), []);
    }
}
