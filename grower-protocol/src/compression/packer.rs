//! Compresses bytes that come a piece at a time, so that all of them need not be in memory at once.

use super::{Codec, compress, snappy};
use std::io::Write;

/// Up to so many bytes are compressed at once: for few bytes, a stream's encoder costs more than they do.
const AT_ONCE: usize = 256 << 10;

/// Bytes that an encoder takes while it has a stream to make, at most: a window and tables.
const ENCODER: usize = 5 << 20;

/// What was not compressed yet, and from [`AT_ONCE`] on an encoder.
pub(crate) struct Packer {
    codec: Codec,
    waiting: Vec<u8>,
    stream: Option<PackerStream>,
}

/// An encoder and what came out of it.
enum PackerStream {
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Snappy(Box<snappy::SnappyPacker>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

const NEVER: &str = "writing to memory does not fail";

impl Packer {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, waiting: Vec::new(), stream: None }
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        if self.stream.is_none() && AT_ONCE < self.waiting.len() + plain.len() {
            self.stream = PackerStream::new(self.codec);
            if let Some(stream) = &mut self.stream {
                stream.write(&std::mem::take(&mut self.waiting));
            }
        }
        match &mut self.stream {
            Some(stream) => stream.write(plain),
            None => self.waiting.extend_from_slice(plain),
        }
    }

    /// Bytes that it takes once `more` were written, the batch that is made of them included. A vector that grows takes
    /// three times what is in it for a moment.
    pub(crate) fn held_after(&self, more: usize) -> usize {
        let streams = self.codec != Codec::None && AT_ONCE < self.waiting.len() + more;
        let encoder = if streams || self.stream.is_some() { ENCODER } else { 0 };
        let length = self.stream.as_ref().map_or(self.waiting.len(), PackerStream::packed_length);
        encoder + 3 * (length + more)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self.stream {
            Some(stream) => stream.finish(),
            None if self.codec == Codec::None => self.waiting,
            None => compress(self.codec, &self.waiting),
        }
    }
}

impl PackerStream {
    /// None without compression.
    fn new(codec: Codec) -> Option<Self> {
        let packed = Vec::new();
        match codec {
            Codec::None => None,
            Codec::Gzip => {
                Some(Self::Gzip(Box::new(flate2::write::GzEncoder::new(packed, flate2::Compression::default()))))
            }
            Codec::Snappy => Some(Self::Snappy(Box::default())),
            Codec::Lz4 => Some(Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(packed)))),
            Codec::Zstd => Some(Self::Zstd(zstd::Encoder::new(packed, super::ZSTD_LEVEL).expect(NEVER))),
        }
    }

    fn write(&mut self, plain: &[u8]) {
        match self {
            Self::Gzip(encoder) => encoder.write_all(plain).expect(NEVER),
            Self::Snappy(packer) => packer.write(plain),
            Self::Lz4(encoder) => encoder.write_all(plain).expect(NEVER),
            Self::Zstd(encoder) => encoder.write_all(plain).expect(NEVER),
        }
    }

    fn packed_length(&self) -> usize {
        match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Snappy(packer) => packer.packed_length(),
            Self::Lz4(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.finish().expect(NEVER),
            Self::Snappy(packer) => packer.finish(),
            Self::Lz4(encoder) => encoder.finish().expect(NEVER),
            Self::Zstd(encoder) => encoder.finish().expect(NEVER),
        }
    }
}
