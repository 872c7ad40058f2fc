//! Contract suites: the promises of every [`Disk`](crate::disk::Disk) and every [`Log`](crate::log::Log), run by the
//! tests of each implementation.
//!
//! A suite panics at the first promise that is broken and says which.

mod disk;
mod log;

pub use disk::disk;
pub use log::log;
