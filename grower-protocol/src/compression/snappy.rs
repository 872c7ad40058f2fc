//! Snappy in the framing of Kafka's clients: the header of the xerial library, then blocks, each with its length.
//!
//! ```text
//! 0x82 'SNAPPY' 0 | version i32 = 1 | compatible i32 = 1 | (length i32, raw block)..
//! ```
//! Some clients send one raw block without this framing. The decoder accepts it too.

use std::io::{self, BufRead, ErrorKind, Read};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER_LENGTH: usize = 16;
/// Uncompressed length of a block, as in other implementations.
const BLOCK: usize = 32 * 1024;

pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut compressor = SnappyCompressor::default();
    compressor.packed.reserve(plain.len() / 2);
    compressor.write(plain);
    compressor.finish()
}

/// Compresses bytes block by block.
pub(crate) struct SnappyCompressor {
    packed: Vec<u8>,
    /// The uncompressed bytes of an incomplete block: `pending.len() < BLOCK`.
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl Default for SnappyCompressor {
    fn default() -> Self {
        let packed = [&MAGIC[..], &1i32.to_be_bytes(), &1i32.to_be_bytes()].concat();
        Self { packed, pending: Vec::new(), encoder: snap::raw::Encoder::new() }
    }
}

impl SnappyCompressor {
    pub(super) fn write(&mut self, mut plain: &[u8]) {
        while BLOCK <= self.pending.len() + plain.len() {
            let (fits, rest) = plain.split_at(BLOCK - self.pending.len());
            self.pending.extend_from_slice(fits);
            self.compress_pending();
            plain = rest;
        }
        self.pending.extend_from_slice(plain);
        debug_assert!(self.pending.len() < BLOCK);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.pending.is_empty() {
            self.compress_pending();
        }
        self.packed
    }

    pub(super) fn compressed_length(&self) -> usize {
        self.packed.len()
    }

    fn compress_pending(&mut self) {
        let block = self.encoder.compress_vec(&self.pending).expect("a block of 32 KiB is below snappy's limit");
        self.packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        self.packed.extend_from_slice(&block);
        self.pending.clear();
    }
}

/// Decompresses a stream block by block.
pub(super) struct SnappyDecompressor<'a> {
    packed: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    consumed: usize,
    limit: usize,
}

impl<'a> SnappyDecompressor<'a> {
    /// Starts to decompress a stream. A block longer than `limit` is an error.
    pub(super) fn new(packed: &'a [u8], limit: usize) -> Self {
        let framed = packed.starts_with(MAGIC);
        // A truncated header fails later, as an invalid block.
        let packed = packed.get(HEADER_LENGTH..).filter(|_| framed).unwrap_or(packed);
        Self { packed, framed, block: Vec::new(), consumed: 0, limit }
    }

    fn take_packed(&mut self) -> io::Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.packed));
        }
        let (prefix, after) = self.packed.split_first_chunk::<4>().ok_or(ErrorKind::UnexpectedEof)?;
        let length = u32::from_be_bytes(*prefix) as usize;
        let (block, after) = after.split_at_checked(length).ok_or(ErrorKind::UnexpectedEof)?;
        self.packed = after;
        Ok(block)
    }

    /// Decompresses a raw block. It begins with its uncompressed length, which is checked before memory is allocated.
    fn decompress(&mut self, packed: &[u8]) -> io::Result<()> {
        let length = snap::raw::decompress_len(packed).map_err(io::Error::other)?;
        if self.limit < length {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.block.resize(length, 0);
        let written = snap::raw::Decoder::new().decompress(packed, &mut self.block).map_err(io::Error::other)?;
        self.block.truncate(written);
        self.consumed = 0;
        Ok(())
    }
}

/// The longest uncompressed length that a block of the stream announces. Damaged blocks count as 0.
pub(super) fn longest_block(packed: &[u8]) -> usize {
    let mut blocks = SnappyDecompressor::new(packed, usize::MAX);
    let mut longest = 0;
    while !blocks.packed.is_empty() {
        let Ok(block) = blocks.take_packed() else { break };
        longest = longest.max(snap::raw::decompress_len(block).unwrap_or(0));
    }
    longest
}

impl BufRead for SnappyDecompressor<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.block.len() && !self.packed.is_empty() {
            let packed = self.take_packed()?;
            self.decompress(packed)?;
        }
        Ok(&self.block[self.consumed..])
    }

    fn consume(&mut self, count: usize) {
        self.consumed = (self.consumed + count).min(self.block.len());
    }
}

impl Read for SnappyDecompressor<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
