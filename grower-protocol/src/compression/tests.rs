use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_codec_restores_its_input(plain in prop::collection::vec(any::<u8>(), 0..100_000), which in 0usize..5) {
        let codec = Codec::ALL[which];
        let packed = compress(codec, &plain);
        prop_assert_eq!(decompress(codec, &packed, plain.len()).unwrap(), plain);
    }

    #[test]
    fn no_input_makes_a_decoder_panic(packed in prop::collection::vec(any::<u8>(), 0..2_000), which in 0usize..5) {
        let _ = decompress(Codec::ALL[which], &packed, 10_000);
    }
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, &zeros);
        assert_eq!(decompress(codec, &bomb, 1 << 20), Err(DecompressError::TooLarge { codec, limit: 1 << 20 }));
    }
}

#[test]
fn a_truncated_stream_is_damaged() {
    let plain: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec, &plain);
        let cut = decompress(codec, &packed[..packed.len() - 5], plain.len());
        assert_eq!(cut, Err(DecompressError::Damaged { codec }), "{codec}");
    }
}

#[test]
fn a_raw_snappy_block_without_frame_is_read() {
    let block = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
    assert_eq!(decompress(Codec::Snappy, &block, 100).unwrap(), b"hello hello hello");
}

#[test]
fn codec_names_and_numbers_are_fixed() {
    let listed: Vec<String> = Codec::ALL.iter().map(|codec| format!("{} {codec}", codec.id())).collect();
    insta::assert_snapshot!(listed.join(", "), @"0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd");
    assert!("lzma".parse::<Codec>().is_err());
}

#[test]
fn memory_of_a_decoder_is_known_before_it_starts() {
    let plain = vec![0; 10 << 20];
    let held = |codec, packed: &[u8], limit| Decompressor::memory(codec, packed, limit);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(held(Codec::Snappy, &raw, 16 << 20), 10 << 20, "a block without a frame is decompressed whole");
    assert_eq!(held(Codec::Snappy, &raw, 1 << 20), 1 << 20, "a block beyond the limit is refused");
    assert_eq!(held(Codec::Snappy, &compress(Codec::Snappy, &plain), 16 << 20), 32 << 10);
    assert_eq!(held(Codec::Snappy, &raw[..2], 16 << 20), 0);
    assert_eq!(held(Codec::None, &plain, 16 << 20), 0);
    assert_eq!(held(Codec::Zstd, &compress(Codec::Zstd, &plain), 1 << 20), 1 << 20);
}
