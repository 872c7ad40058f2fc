//! The compression levels, and the memory that an encoder takes at them.

/// The level of gzip, from 1 to 9.
const GZIP: u32 = 6;

/// The level of Zstandard, from 1 to 22. Compaction compresses every producer's batches again at this level, and
/// [`ENCODER_BYTES`] depends on it.
pub(super) const ZSTD: i32 = 3;

/// The most memory in bytes that a streaming encoder takes: a window and tables. Zstandard takes the most.
pub(super) const ENCODER_BYTES: usize = 5 << 20;

/// An encoder of a gzip stream.
pub(super) fn gzip_encoder() -> flate2::write::GzEncoder<Vec<u8>> {
    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zstd::zstd_safe::{CCtx, CParameter};

    #[test]
    fn the_counted_memory_of_an_encoder_is_what_zstandard_takes_at_its_level() {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(ZSTD)).unwrap();
        let mut encoder = zstd::Encoder::with_context(Vec::new(), &mut context);
        let plain: Vec<u8> = (0..4_u32 << 20).flat_map(u32::to_le_bytes).collect();
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap();
        let taken = context.sizeof();
        assert!(taken <= ENCODER_BYTES, "level {ZSTD} takes {taken} bytes, {ENCODER_BYTES} are counted");
        assert!(ENCODER_BYTES <= taken * 2, "level {ZSTD} takes {taken} bytes, far below {ENCODER_BYTES}");
    }
}
