//! The four codecs of record batches. The caller bounds the decompressed size, so a decompression bomb costs no more
//! than that limit.

mod compressor;
mod decompressor;
mod levels;
mod snappy;

pub(crate) use compressor::Compressor;
pub use decompressor::Decompressor;

use std::io::Write;
use std::{fmt, str};

/// The compression of a batch's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// No compression.
    #[default]
    None,
    /// Gzip, RFC 1952.
    Gzip,
    /// Snappy: raw blocks in the xerial framing of Kafka's clients.
    Snappy,
    /// LZ4: the frame format with independent blocks.
    Lz4,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's number in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Returns the codec with this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    /// The codec's name in configs and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl str::FromStr for Codec {
    type Err = UnknownCodec;
    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        let found = Self::ALL.into_iter().find(|codec| codec.name() == name);
        found.ok_or_else(|| UnknownCodec { name: name.to_owned() })
    }
}

/// A name that is no codec's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec {name:?}: use none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodec {
    name: String,
}

/// The reason why compressed records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The decompressed size passes the limit.
    #[error("decompressing {codec} passes the limit of {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The limit in bytes.
        limit: usize,
    },
    /// The stream is malformed or truncated.
    #[error("the {codec} stream is damaged")]
    Damaged {
        /// The codec.
        codec: Codec,
    },
}

const INFALLIBLE: &str = "writing to memory does not fail";

/// Compresses `plain` into one stream.
pub fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => {
            let mut encoder = levels::gzip_encoder();
            encoder.write_all(plain).expect(INFALLIBLE);
            encoder.finish().expect(INFALLIBLE)
        }
        Codec::Snappy => snappy::compress(plain),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).expect(INFALLIBLE);
            encoder.finish().expect(INFALLIBLE)
        }
        Codec::Zstd => zstd::bulk::compress(plain, levels::ZSTD).expect(INFALLIBLE),
    }
}

/// Decompresses one stream. Fails if the result passes `limit` bytes.
pub fn decompress(codec: Codec, packed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut stream = Decompressor::new(codec, packed, limit)?;
    let mut plain = Vec::new();
    loop {
        let chunk = stream.chunk()?;
        if chunk.is_empty() {
            return Ok(plain);
        }
        plain.extend_from_slice(chunk);
        let length = chunk.len();
        stream.consume(length);
    }
}

#[cfg(test)]
mod tests;
