//! Names that no other process chooses.

use grower_protocol::ids::CommitterId;
use std::fmt::Write as _;

/// A name of 128 random bits.
pub(crate) fn random_name() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap_or_default();
    random.iter().fold(String::from("grower-"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The identity of somebody who commits without being a member.
pub(crate) fn random_committer() -> CommitterId {
    CommitterId::new(&random_name()).expect("hexadecimal digits are printable")
}
