//! What every implementation of a border promises, as suites that each of them runs in its tests.
//!
//! A suite panics at the first promise that is broken and says which.

mod disk;
mod log;

pub use disk::disk;
pub use log::log;
