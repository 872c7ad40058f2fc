//! Reads batches from a range of log bytes.

use super::{Batch, BatchError, BatchHeader, HEADER_LENGTH};
use bytes::Bytes;

/// Iterates over the whole batches of a buffer. It stops without an error at an incomplete last batch.
///
/// The data of a fetch response may end inside a batch, and so may a file that is still being written.
/// [`BatchReader::rest`] returns the bytes after the last whole batch. The iterator ends after an error, because the
/// position of the next batch is unknown.
#[derive(Clone, Debug)]
pub struct BatchReader {
    rest: Bytes,
    failed: bool,
}

impl BatchReader {
    /// Starts at the first byte of `bytes`, which must be the start of a batch.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// The bytes not read yet; after the last whole batch, the torn tail.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for BatchReader {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.len() < HEADER_LENGTH {
            return None;
        }
        let header = match BatchHeader::parse(&self.rest) {
            Ok(header) => header,
            Err(error) => {
                self.failed = true;
                return Some(Err(error.into()));
            }
        };
        if self.rest.len() < header.total_length {
            return None;
        }
        let batch = Batch::check(self.rest.split_to(header.total_length));
        self.failed = batch.is_err();
        Some(batch)
    }
}
