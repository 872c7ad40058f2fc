//! Snappy as Kafka's clients frame it: the header of the xerial library, then blocks with a length each.
//!
//! ```text
//! 0x82 'SNAPPY' 0 | version i32 = 1 | compatible i32 = 1 | (length i32, raw block)..
//! ```
//! Some clients send one raw block without any frame; it is read as well.

use super::{Codec, DecompressError};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER_LENGTH: usize = 16;
/// Plain bytes in a block, as the other implementations have it.
const BLOCK: usize = 32 * 1024;
const DAMAGED: DecompressError = DecompressError::Damaged { codec: Codec::Snappy };

pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEADER_LENGTH + plain.len() / 2);
    packed.extend_from_slice(MAGIC);
    packed.extend_from_slice(&1i32.to_be_bytes());
    packed.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(BLOCK) {
        let block = encoder.compress_vec(block).expect("a block of 32 KiB is below snappy's limit");
        packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

pub(super) fn decompress(packed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut plain = Vec::new();
    if !packed.starts_with(MAGIC) {
        append_block(packed, limit, &mut plain)?;
        return Ok(plain);
    }
    let mut rest = packed.get(HEADER_LENGTH..).ok_or(DAMAGED)?;
    while !rest.is_empty() {
        let (prefix, after) = rest.split_first_chunk::<4>().ok_or(DAMAGED)?;
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| DAMAGED)?;
        let (block, after) = after.split_at_checked(length).ok_or(DAMAGED)?;
        append_block(block, limit, &mut plain)?;
        rest = after;
    }
    Ok(plain)
}

/// A raw block says its plain length up front, so it is checked before anything is allocated.
fn append_block(block: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<(), DecompressError> {
    let length = snap::raw::decompress_len(block).map_err(|_| DAMAGED)?;
    if limit - plain.len() < length {
        return Err(DecompressError::TooLarge { codec: Codec::Snappy, limit });
    }
    let start = plain.len();
    plain.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut plain[start..]).map_err(|_| DAMAGED)?;
    plain.truncate(start + written);
    Ok(())
}
