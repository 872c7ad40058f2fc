//! The limits of connections, and the descriptors that they leave to files.

use crate::config::BrokerConfig;
use crate::descriptors::HttpDescriptors;
use crate::listener::ConnectionLimits;
use crate::memory::Memory;
use grower_storage::disk::Disk;
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;

/// Descriptors that are kept for rolls, small files and metadata: each of those needs a few for a moment.
pub(super) fn files_reserve() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(FILES_RESERVE_MAX, |limit| (limit / 16).clamp(FILES_RESERVE_MIN, FILES_RESERVE_MAX))
}

const FILES_RESERVE_MIN: usize = 8;
const FILES_RESERVE_MAX: usize = 32;

/// The limits as set, as far as the memory budget allows them.
pub(super) fn connection_limits(
    config: &BrokerConfig,
    memory: Memory,
    disk: &dyn Disk,
    http_descriptors: Arc<HttpDescriptors>,
) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: config.max_connections.min(memory.connections_max()),
        frame_bytes_max: config.frame_bytes_max.min(memory.frame_bytes_max()),
        requests_in_flight_max: config.requests_in_flight_max,
        handshake_timeout: config.handshake_timeout,
        frame_timeout: config.frame_timeout,
        idle_timeout: config.idle_timeout,
        write_timeout: config.write_timeout,
        zero_copy: config.fetch_zero_copy,
        memory,
        open_files: disk.open_files().clone(),
        http_descriptors,
    }
}
