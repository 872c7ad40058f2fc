//! Creates random names and numbers, unique across processes.

use grower_protocol::ids::{CommitterId, ProducerHolder};
use std::fmt::Write as _;
use std::io;

/// Returns a name with 128 random bits. Fails without random bytes of the operating system: the name could repeat.
#[expect(clippy::disallowed_methods, reason = "a shell draws random numbers")]
pub(crate) fn random_name() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io_error)?;
    Ok(random.iter().fold(String::from("grower-"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Returns an identity for commits by a client that is not a member of the group.
pub(crate) fn random_committer() -> io::Result<CommitterId> {
    random_name().map(|name| CommitterId::new(&name).expect("hexadecimal digits are printable"))
}

/// Returns a number for the claims of one producer.
#[expect(clippy::disallowed_methods, reason = "a shell draws random numbers")]
pub(crate) fn random_holder() -> io::Result<ProducerHolder> {
    getrandom::u64().map(ProducerHolder::new).map_err(io_error)
}

fn io_error(error: getrandom::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}
