//! The messages of the native protocol.

use crate::Target;
use grower_protocol::message::{Request, Response};
use grower_protocol::wire::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub(super) const REQUEST: Target = Target {
    name: "request",
    about: "a request: a decoded one means the same when it is encoded again",
    run: same_again::<Request>,
    seeds: pinned::<Request>,
    allocates: 16 << 20,
};

pub(super) const RESPONSE: Target = Target {
    name: "response",
    about: "a response, as a client reads it",
    run: same_again::<Response>,
    seeds: pinned::<Response>,
    allocates: 16 << 20,
};

fn same_again<T: Serialize + DeserializeOwned + Debug + PartialEq>(input: &[u8]) {
    let Ok(message) = decode::<T>(input) else { return };
    let again = decode::<T>(&encode(&message)).expect("what was decoded can be encoded and decoded");
    assert_eq!(again, message);
}

/// The messages that the protocol's tests pin, one of each kind: a new kind becomes a seed by itself.
fn pinned<T: DeserializeOwned>() -> Vec<Vec<u8>> {
    let pinned = [
        include_str!("../../../../grower-protocol/src/message/admin.rs"),
        include_str!("../../../../grower-protocol/src/message/backup.rs"),
        include_str!("../../../../grower-protocol/src/message/broker.rs"),
        include_str!("../../../../grower-protocol/src/message/tests/requests.rs"),
        include_str!("../../../../grower-protocol/src/message/tests/responses.rs"),
    ];
    let rows = pinned.iter().flat_map(|file| file.lines()).filter_map(|line| line.trim().split_once(' '));
    rows.filter_map(|(_, hex)| bytes_of(hex)).filter(|bytes| decode::<T>(bytes).is_ok()).collect()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}
