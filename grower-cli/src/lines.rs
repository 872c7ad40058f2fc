//! Splits bytes into lines at `\n` and nowhere else, and keeps every other byte.
//!
//! Lines over the limit are counted but not kept, so that a file that is one endless line costs no memory.

use bytes::{Bytes, BytesMut};
use std::io::{self, Read};

/// Bytes per read of a source.
const READ_BYTES: usize = 256 << 10;

/// One line without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Position of its first byte in the source.
    pub(crate) start: u64,
    /// Position of the next line.
    pub(crate) end: u64,
    /// Its bytes, unless it is too long.
    pub(crate) content: Result<Bytes, TooLong>,
}

/// A line that no record can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has {length} bytes, and the limit is {limit}; raise the topic's max.message.bytes or shorten the line")]
pub(crate) struct TooLong {
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The longest accepted length.
    pub(crate) limit: u64,
}

/// Splits a stream of bytes into lines, however the bytes arrive.
pub(crate) struct Splitter {
    unread: BytesMut,
    /// Length of the prefix of `unread` that holds no newline.
    scanned: usize,
    /// Bytes of the current line that were dropped because it is too long.
    dropped: u64,
    limit: usize,
    number: u64,
    start: u64,
}

impl Splitter {
    /// Starts at byte `start` of the source, where line number 1 begins. Lines may have `limit` bytes.
    pub(crate) fn new(start: u64, limit: usize) -> Self {
        Self { unread: BytesMut::new(), scanned: 0, dropped: 0, limit, number: 1, start }
    }

    /// Reads once from the source and returns the number of bytes; 0 at its end.
    pub(crate) fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let before = self.unread.len();
        self.unread.resize(before + READ_BYTES, 0);
        let count = loop {
            match source.read(&mut self.unread[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.unread.truncate(before + *count.as_ref().unwrap_or(&0));
        count
    }

    /// Returns the next complete line.
    pub(crate) fn next_line(&mut self) -> Option<Line> {
        match self.unread[self.scanned..].iter().position(|byte| *byte == b'\n') {
            Some(more) => {
                let mut bytes = self.unread.split_to(self.scanned + more + 1);
                bytes.truncate(bytes.len() - 1);
                Some(self.line(bytes.freeze(), 1))
            }
            None => {
                self.scanned = self.unread.len();
                self.drop_if_too_long();
                None
            }
        }
    }

    /// Returns the last line, the one without newline, once the source has ended.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        let bytes = self.unread.split().freeze();
        (self.dropped != 0 || !bytes.is_empty()).then(|| self.line(bytes, 0))
    }

    /// Position of the first line that was not returned yet.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Position after the last byte that was read.
    pub(crate) fn taken(&self) -> u64 {
        self.start + self.dropped + self.unread.len() as u64
    }

    fn line(&mut self, bytes: Bytes, newline: u64) -> Line {
        let length = self.dropped + bytes.len() as u64;
        let limit = self.limit as u64;
        let content = if limit < length { Err(TooLong { length, limit }) } else { Ok(bytes) };
        let line = Line { number: self.number, start: self.start, end: self.start + length + newline, content };
        (self.scanned, self.dropped) = (0, 0);
        self.number += 1;
        self.start = line.end;
        line
    }

    fn drop_if_too_long(&mut self) {
        if self.limit < self.unread.len() || self.dropped != 0 {
            self.dropped += self.unread.len() as u64;
            self.unread.clear();
            self.scanned = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `input`, which arrives in chunks of `chunk_bytes` bytes.
    fn split(input: &[u8], chunk_bytes: usize, limit: usize) -> Vec<Line> {
        let mut splitter = Splitter::new(0, limit);
        let mut lines = Vec::new();
        for mut chunk in input.chunks(chunk_bytes) {
            splitter.read_from(&mut chunk).unwrap();
            lines.extend(std::iter::from_fn(|| splitter.next_line()));
        }
        lines.extend(splitter.finish());
        assert_eq!(splitter.taken(), input.len() as u64);
        lines
    }

    fn contents(lines: &[Line]) -> Vec<&[u8]> {
        lines.iter().map(|line| line.content.as_deref().unwrap()).collect()
    }

    #[test]
    fn only_a_newline_ends_a_line_and_every_other_byte_is_kept() {
        let input = b"one\r\n\n\0 \xff\xfe\n\x0b\x0c\xe2\x80\xa8\nlast";
        for chunk_bytes in 1..=input.len() {
            let lines = split(input, chunk_bytes, 100);
            let wanted: [&[u8]; 5] = [b"one\r", b"", b"\0 \xff\xfe", b"\x0b\x0c\xe2\x80\xa8", b"last"];
            assert_eq!(contents(&lines), wanted);
        }
    }

    #[test]
    fn lines_joined_by_newlines_are_the_input() {
        for input in [&b"a\nb\n"[..], b"a\nb", b"\n\n", b"", b"\n"] {
            let lines = split(input, 1, 100);
            let mut joined = contents(&lines).join(&b'\n');
            if input.ends_with(b"\n") {
                joined.push(b'\n');
            }
            assert_eq!(joined, input);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_reported_and_the_others_are_kept() {
        for chunk_bytes in 1..20 {
            let lines = split(b"fine\n0123456789A\n0123456789\nlast one too long", chunk_bytes, 10);
            let numbers: Vec<_> = lines.iter().map(|line| (line.number, line.content.is_ok())).collect();
            assert_eq!(numbers, [(1, true), (2, false), (3, true), (4, false)]);
            assert_eq!(lines[1].content, Err(TooLong { length: 11, limit: 10 }));
        }
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut splitter = Splitter::new(0, 1000);
        for _ in 0..100 {
            splitter.read_from(&mut io::repeat(b'x')).unwrap();
            assert_eq!(splitter.next_line(), None);
            assert!(splitter.unread.capacity() <= 2 * READ_BYTES);
        }
        let length = 100 * READ_BYTES as u64;
        assert_eq!(splitter.finish().unwrap().content, Err(TooLong { length, limit: 1000 }));
    }

    #[test]
    fn each_line_knows_where_it_begins_and_ends() {
        let lines = split(b"ab\n\ncd", 2, 10);
        let ranges: Vec<_> = lines.iter().map(|line| (line.start, line.end)).collect();
        assert_eq!(ranges, [(0, 3), (3, 4), (4, 6)]);
    }
}
