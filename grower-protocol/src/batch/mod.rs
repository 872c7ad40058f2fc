//! Record batches: the unit that producers build, logs store and consumers read, all with the same bytes.
//!
//! The layout is Kafka's public record batch, version 2. Numbers are big-endian; varints are zig-zag.
//!
//! ```text
//!  0 base offset i64 | 8 length i32 of the bytes after it | 12 leader epoch i32 | 16 magic i8 = 2 | 17 crc u32
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64
//! 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records ..
//! ```
//!
//! The CRC-32C covers byte 21 to the end, so the broker sets base offset and leader epoch without changing it. A batch
//! is never split. Only compaction re-encodes one.

mod builder;
mod filler;
mod header;
mod placed;
mod reader;
mod record;
mod record_scanner;
mod refused_records;
mod rewrite;
mod unplaced;
mod varint;

pub use builder::{BatchBuilder, restamp};
pub use filler::fillers;
pub use header::{Attributes, BatchHeader, HEADER_LENGTH, HeaderError, ProducerStamp, TimestampType};
pub use placed::{Batch, BatchError};
pub use reader::BatchReader;
pub use record::{Header, Record, RecordRef, RecordView};
pub use record_scanner::{Records, RecordsError};
pub use refused_records::RefusedRecords;
pub use rewrite::{KeyedRecord, RewriteLimits};
pub use unplaced::{BatchLimits, ClientBatchError, UnplacedBatch};

/// Computes a CRC-32C (Castagnoli). A batch's CRC covers all bytes from its attributes on.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(test)]
mod tests;
