//! The decompressors of all codecs.

use crate::Target;
use grower_protocol::compression::{Codec, compress, decompress};

pub(super) const GZIP: Target = target("gzip", |input| run(Codec::Gzip, input), || seeds(Codec::Gzip));
pub(super) const SNAPPY: Target = target("snappy", |input| run(Codec::Snappy, input), || seeds(Codec::Snappy));
/// A frame may announce blocks of 8 MiB, and a decoder holds an input and an output block.
pub(super) const LZ4: Target =
    Target { allocates: 18 << 20, ..target("lz4", |input| run(Codec::Lz4, input), || seeds(Codec::Lz4)) };
pub(super) const ZSTD: Target = target("zstd", |input| run(Codec::Zstd, input), || seeds(Codec::Zstd));

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, about: "a compressed stream: the output never exceeds its limit", run, seeds, allocates: 8 << 20 }
}

const LIMIT: usize = 1 << 20;

fn run(codec: Codec, input: &[u8]) {
    if let Ok(plain) = decompress(codec, input, LIMIT) {
        assert!(plain.len() <= LIMIT);
    }
}

fn seeds(codec: Codec) -> Vec<Vec<u8>> {
    let mixed: Vec<u8> = (0..600u32).flat_map(|n| [(n % 7) as u8, ((n * n) >> 3) as u8]).collect();
    [&b""[..], b"a", b"aaaaaaaaaaaaaaaaaaaaaaaa", &mixed].map(|plain| compress(codec, plain)).to_vec()
}
