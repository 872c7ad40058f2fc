//! The targets, one file for each kind of bytes.

mod backup;
mod batch;
mod begun;
mod broker;
mod cli;
mod compression;
mod config;
mod fetch_session;
mod follow;
mod group;
mod http;
mod index;
mod input_reader;
mod message;
mod metadata;
mod partition;
mod wire;

use crate::Target;

/// All targets.
pub const TARGETS: &[Target] = &[
    wire::FRAME,
    message::REQUEST,
    message::RESPONSE,
    batch::PRODUCED,
    batch::STORED,
    compression::GZIP,
    compression::SNAPPY,
    compression::LZ4,
    compression::ZSTD,
    index::INDEX,
    index::INDEX_RUN,
    partition::SMALL_FILE,
    partition::SEGMENT,
    partition::ACCEPTED_LOSSES,
    partition::COMPACTION,
    metadata::COMMANDS,
    metadata::SNAPSHOT,
    metadata::IDENTITY,
    group::GROUP_RECORDS,
    backup::MANIFEST,
    begun::BEGUN,
    http::HOST,
    config::CONFIG,
    config::TOPIC_CONFIG,
    cli::ARGUMENTS,
    follow::NOTE,
    broker::BROKER,
    fetch_session::FETCH_SESSION,
];

/// Finds a target by name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
