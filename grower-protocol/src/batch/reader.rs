//! Takes batches off the front of a stretch of log.

use super::{Batch, BatchError, BatchHeader, HEADER_LENGTH};
use bytes::Bytes;

/// Iterates over the whole batches of a buffer and stops, without an error, where the last one is cut short.
///
/// An answer to a fetch ends at any byte; so does a file that is still being written. What is left is
/// [`BatchReader::rest`]. After an error the iterator ends: without a sound header nobody knows where the next batch begins.
#[derive(Clone, Debug)]
pub struct BatchReader {
    rest: Bytes,
    failed: bool,
}

impl BatchReader {
    /// Reads from the start of `bytes`, which must be the start of a batch.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// What was not taken yet: after the last batch, its torn tail.
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
