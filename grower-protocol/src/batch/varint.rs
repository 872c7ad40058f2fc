//! Zig-zag varints: 7 bits in each byte, lowest first. The top bit is set while more bytes follow.

/// The length of the longest varint in bytes.
pub(super) const LENGTH_MAX: usize = 10;

/// Appends `value` in 1 to 10 bytes.
pub(super) fn put(into: &mut Vec<u8>, value: i64) {
    let zigzag = zigzag(value);
    if zigzag < 0x80 {
        return into.push(zigzag as u8); // Nearly all: small numbers and the lengths of short fields.
    }
    let mut bytes = [0; LENGTH_MAX];
    let length = write(&mut bytes, value);
    into.extend_from_slice(&bytes[..length]);
}

/// Writes `value` to the beginning of `into`, which must have room, and returns its length.
#[inline]
pub(super) fn write(into: &mut [u8], value: i64) -> usize {
    match zigzag(value) {
        small @ 0..0x80 => {
            into[0] = small as u8;
            1
        }
        medium @ 0x80..0x4000 => {
            into[..2].copy_from_slice(&[medium as u8 | 0x80, (medium >> 7) as u8]);
            2
        }
        mut rest => {
            let mut at = 0;
            while 0x80 <= rest {
                into[at] = rest as u8 | 0x80;
                rest >>= 7;
                at += 1;
            }
            into[at] = rest as u8;
            at + 1
        }
    }
}

/// The number of bytes that [`put`] appends.
pub(super) fn length(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Reads one varint and advances `bytes` past it; `None` if it is incomplete or has more than 64 bits.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let (value, length) = read(bytes)?;
    *bytes = bytes.get(length..)?;
    Some(value)
}

/// Reads the varint at the beginning of `bytes`; returns it with its length.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(i64, usize)> {
    match *bytes {
        // Nearly all numbers in a record: deltas, and the lengths of short fields.
        [first, ..] if first < 0x80 => Some((value_of(first.into()), 1)),
        [first, second, ..] if second < 0x80 => Some((value_of(u64::from(first & 0x7f) | u64::from(second) << 7), 2)),
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut zigzag = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(LENGTH_MAX) {
        let low = u64::from(byte & 0x7f);
        if at + 1 == LENGTH_MAX && 1 < low {
            return None;
        }
        zigzag |= low << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value_of(zigzag), at + 1));
        }
    }
    None
}

fn value_of(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_as_written(value: i64) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), length(value));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
        assert_eq!(take(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()), None);
        assert_eq!(take(&mut [0x80].as_slice()), None);
        assert_eq!(take(&mut [].as_slice()), None);
    }

    #[test]
    fn the_largest_values_take_ten_bytes() {
        for value in [i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), 10);
            assert_eq!(take(&mut bytes.as_slice()), Some(value));
        }
    }
}
