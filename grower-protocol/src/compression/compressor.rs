//! Compresses bytes a piece at a time, so that not all of them are in memory at once.

use super::levels::{self, ENCODER_BYTES};
use super::{Codec, INFALLIBLE, compress, snappy};
use std::io::Write;

/// Up to this length, bytes are compressed at once: a streaming encoder takes more memory than they do.
const AT_ONCE_MAX: usize = 256 << 10;

/// Holds bytes up to [`AT_ONCE_MAX`] uncompressed, and uses a streaming encoder for more.
pub(crate) struct Compressor {
    codec: Codec,
    pending: Vec<u8>,
    stream: Option<StreamCompressor>,
}

/// A streaming encoder with its output.
enum StreamCompressor {
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Snappy(Box<snappy::SnappyCompressor>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, pending: Vec::new(), stream: None }
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        if self.stream.is_none() && AT_ONCE_MAX < self.pending.len() + plain.len() {
            self.stream = StreamCompressor::new(self.codec);
            if let Some(stream) = &mut self.stream {
                stream.write(&std::mem::take(&mut self.pending));
            }
        }
        match &mut self.stream {
            Some(stream) => stream.write(plain),
            None => self.pending.extend_from_slice(plain),
        }
    }

    /// The memory in bytes that it takes after `more` bytes are written, including the finished batch. A growing vector
    /// takes three times its length for a moment.
    pub(crate) fn memory_after(&self, more: usize) -> usize {
        let streams = self.codec != Codec::None && AT_ONCE_MAX < self.pending.len() + more;
        let encoder = if streams || self.stream.is_some() { ENCODER_BYTES } else { 0 };
        let length = self.stream.as_ref().map_or(self.pending.len(), StreamCompressor::compressed_length);
        encoder + 3 * (length + more)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self.stream {
            Some(stream) => stream.finish(),
            None if self.codec == Codec::None => self.pending,
            None => compress(self.codec, &self.pending),
        }
    }
}

impl StreamCompressor {
    /// Returns the encoder of a codec; none for [`Codec::None`].
    fn new(codec: Codec) -> Option<Self> {
        let packed = Vec::new();
        match codec {
            Codec::None => None,
            Codec::Gzip => Some(Self::Gzip(Box::new(levels::gzip_encoder()))),
            Codec::Snappy => Some(Self::Snappy(Box::default())),
            Codec::Lz4 => Some(Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(packed)))),
            Codec::Zstd => Some(Self::Zstd(zstd::Encoder::new(packed, levels::ZSTD).expect(INFALLIBLE))),
        }
    }

    fn write(&mut self, plain: &[u8]) {
        match self {
            Self::Gzip(encoder) => encoder.write_all(plain).expect(INFALLIBLE),
            Self::Snappy(compressor) => compressor.write(plain),
            Self::Lz4(encoder) => encoder.write_all(plain).expect(INFALLIBLE),
            Self::Zstd(encoder) => encoder.write_all(plain).expect(INFALLIBLE),
        }
    }

    fn compressed_length(&self) -> usize {
        match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Snappy(compressor) => compressor.compressed_length(),
            Self::Lz4(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.finish().expect(INFALLIBLE),
            Self::Snappy(compressor) => compressor.finish(),
            Self::Lz4(encoder) => encoder.finish().expect(INFALLIBLE),
            Self::Zstd(encoder) => encoder.finish().expect(INFALLIBLE),
        }
    }
}
