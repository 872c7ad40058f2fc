//! Decompression a chunk at a time: a reader that needs no whole batch in memory holds one window or block.

use super::{Codec, DecompressError, snappy};
use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind};

/// Chunk size of decoders that have no blocks of their own.
const CHUNK: usize = 32 << 10;

/// The largest window or block that encoders use by default.
const WINDOW: usize = 8 << 20;

/// A decompressing reader with a limit on its output. It holds one window or block of the codec in memory.
pub struct Decompressor<'a> {
    codec: Codec,
    limit: usize,
    left: usize,
    reader: Box<dyn BufRead + 'a>,
}

impl<'a> Decompressor<'a> {
    /// Starts to decompress one stream into at most `limit` bytes.
    pub fn new(codec: Codec, packed: &'a [u8], limit: usize) -> Result<Self, DecompressError> {
        let reader: Box<dyn BufRead + 'a> = match codec {
            Codec::None => Box::new(packed),
            Codec::Gzip => Box::new(BufReader::with_capacity(CHUNK, flate2::read::MultiGzDecoder::new(packed))),
            Codec::Snappy => Box::new(snappy::SnappyDecompressor::new(packed, limit)),
            Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
            Codec::Zstd => {
                let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| DecompressError::Damaged { codec })?;
                Box::new(BufReader::with_capacity(CHUNK, decoder))
            }
        };
        Ok(Self { codec, limit, left: limit, reader })
    }

    /// The most memory in bytes that reading `packed` takes, with an output of up to `limit` bytes: the codec's window
    /// or blocks. Callers reserve it before they start.
    pub fn memory(codec: Codec, packed: &[u8], limit: usize) -> usize {
        match codec {
            Codec::None => 0,
            Codec::Gzip => 2 * CHUNK,
            Codec::Snappy => snappy::longest_block(packed).min(limit),
            Codec::Lz4 | Codec::Zstd => limit.min(WINDOW),
        }
    }

    /// Like [`Decompressor::memory`], by the sizes that the stream announces: less for most streams.
    pub(crate) fn announced_memory(codec: Codec, packed: &[u8], limit: usize) -> usize {
        let window = match codec {
            Codec::Lz4 => lz4_blocks(packed),
            Codec::Zstd => zstd_window(packed),
            codec => return Self::memory(codec, packed, limit),
        };
        window.map_or(WINDOW, |window| window.saturating_add(4 * CHUNK)).min(limit)
    }

    /// The number of bytes left until the limit.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Returns the next decompressed bytes; empty at the end of a sound stream.
    pub fn chunk(&mut self) -> Result<&[u8], DecompressError> {
        let (codec, limit) = (self.codec, self.limit);
        let chunk = self.reader.fill_buf().map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => DecompressError::TooLarge { codec, limit },
            _ => DecompressError::Damaged { codec },
        })?;
        if self.left == 0 && !chunk.is_empty() {
            return Err(DecompressError::TooLarge { codec, limit });
        }
        Ok(&chunk[..chunk.len().min(self.left)])
    }

    /// Skips the first `count` bytes of the chunk.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.left, "a chunk ends at the limit");
        let count = count.min(self.left);
        self.left -= count;
        self.reader.consume(count);
    }
}

impl fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("codec", &self.codec).field("left", &self.left).finish_non_exhaustive()
    }
}

/// Memory for one compressed and one decompressed block of the size that the frame announces.
fn lz4_blocks(packed: &[u8]) -> Option<usize> {
    match packed.get(5)? >> 4 & 7 {
        code @ 4..=7 => Some(2 << (2 * code + 8)),
        _ => None,
    }
}

/// The largest window of a stream's frames (RFC 8878, 3.1.1.1); none for a damaged stream.
fn zstd_window(packed: &[u8]) -> Option<usize> {
    let (mut rest, mut largest) = (packed, 0);
    while !rest.is_empty() {
        let (magic, after) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*magic) & !15 != 0x184d_2a50 {
            largest = largest.max(zstd_frame_window(after)?);
        }
        let length = zstd::zstd_safe::find_frame_compressed_size(rest).ok()?;
        rest = rest.get(length..).filter(|_| 0 < length)?;
    }
    Some(largest)
}

/// The window of one frame, read from its descriptor. A frame with a single segment has a window as long as its
/// content.
fn zstd_frame_window(frame: &[u8]) -> Option<usize> {
    let descriptor = *frame.first()?;
    if descriptor & 0x20 == 0 {
        let window = *frame.get(1)?;
        let base = 1u64.checked_shl(10 + u32::from(window >> 3))?;
        return usize::try_from(base + base / 8 * u64::from(window & 7)).ok();
    }
    let at = 1 + [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (bytes, more) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let size = frame.get(at..at + bytes)?.iter().rev().fold(0u64, |size, byte| size << 8 | u64::from(*byte));
    usize::try_from(size.saturating_add(more)).ok()
}
