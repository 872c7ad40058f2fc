//! The peer of a connection, as far as it introduced itself.

use std::net::SocketAddr;
use std::sync::OnceLock;

/// Kept bytes of a program's name.
const CLIENT_BYTES_MAX: usize = 249;

/// The client of one connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// None within the process.
    address: Option<String>,
    /// The program's name, from its introduction.
    client: OnceLock<String>,
}

impl Peer {
    pub(crate) fn at(address: Option<SocketAddr>) -> Self {
        Self { address: address.map(|address| address.to_string()), client: OnceLock::new() }
    }

    /// Keeps the name of the first introduction.
    pub(crate) fn introduced(&self, client: &str) {
        let end = (0..=client.len().min(CLIENT_BYTES_MAX)).rev().find(|at| client.is_char_boundary(*at));
        let _ = self.client.set(client[..end.unwrap_or(0)].to_owned());
    }

    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(crate) fn client(&self) -> Option<&str> {
        self.client.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let peer = Peer::default();
        peer.introduced(&"ö".repeat(1_000));
        peer.introduced("another client");
        assert_eq!(peer.client().unwrap(), "ö".repeat(CLIENT_BYTES_MAX / 2));
    }
}
