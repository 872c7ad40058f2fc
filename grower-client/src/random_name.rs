//! Creates random names, unique across processes.

use grower_protocol::ids::CommitterId;
use std::fmt::Write as _;

/// Returns a name with 128 random bits.
pub(crate) fn random_name() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system has randomness"); // Without it, names could repeat.
    random.iter().fold(String::from("grower-"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns an identity for commits by a client that is not a member of the group.
pub(crate) fn random_committer() -> CommitterId {
    CommitterId::new(&random_name()).expect("hexadecimal digits are printable")
}
