//! The Host header of the HTTP server.

use super::input_reader::{InputReader, encode_chunks};
use crate::Target;
use grower_broker::fuzzed::ServerNames;
use std::net::IpAddr;

pub(super) const HOST: Target = Target {
    name: "http-host",
    about: "the Host header with any advertised address: only an address, localhost or the advertised host is accepted",
    run,
    seeds: || {
        let said =
            ["127.0.0.1:9094", "[::1]:9094", "[::1]", "LocalHost.:80", "broker.example", "evil.example", "a]:b["];
        said.iter().map(|said| encode_chunks(&["broker.example:9092", said])).collect()
    },
    allocates: 1 << 20,
};

fn run(input: &[u8]) {
    let mut input = InputReader(input);
    let text = |piece: &[u8]| String::from_utf8_lossy(piece).into_owned();
    let (advertised, said) = (text(input.chunk()), text(input.chunk()));
    let (alone, both) = (ServerNames::of(None), ServerNames::of(Some(&advertised)));
    if alone.include(&said) {
        assert!(is_local(&said), "{said:?} is no address and not localhost");
        assert!(both.include(&said), "{said:?} is no longer known when {advertised:?} is advertised");
    } else if both.include(&said) {
        let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(['.', ']']).to_ascii_lowercase();
        assert!(said.to_ascii_lowercase().contains(&host), "{said:?} is not {advertised:?}");
    }
    assert_eq!(both.include(&said), both.include(&said.to_ascii_uppercase()), "upper case makes a difference");
}

/// Whether the header names an address or localhost, in any notation.
fn is_local(said: &str) -> bool {
    let cuts = said.char_indices().filter(|(_, sign)| *sign == ':').map(|(at, _)| at).chain([said.len()]);
    cuts.into_iter().any(|cut| {
        let (host, port) = said.split_at(cut);
        let is_port = port.chars().skip(1).all(|sign| sign.is_ascii_digit());
        let name = host.strip_suffix('.').unwrap_or(host);
        let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(name);
        is_port && (plain.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost"))
    })
}
