//! Runs one input and panics if it takes too much time or memory.
//!
//! Time is the thread's CPU time, so that a busy machine fails no input. A slow machine or an unoptimised build gets
//! more time, by the factor it needs for a fixed piece of work.

use crate::Target;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

/// The longest input; longer ones reach no other code.
pub const INPUT_BYTES_MAX: usize = 64 << 10;

/// CPU time of one input, on a machine like CI's, optimised.
const TIME: Duration = Duration::from_millis(100);

/// CPU time of the fixed piece of work on that machine.
const WORK_TIME: Duration = Duration::from_millis(4);

/// Runs the target on an input.
///
/// # Panics
/// If a promise breaks, or the input takes too much time or memory.
pub fn run(target: &Target, input: &[u8]) {
    let start = cpu_time();
    let used = allocation_counter::measure(|| (target.run)(input));
    let took = cpu_time() - start;
    let allowed = TIME * slowness();
    assert!(took <= allowed, "{} took {took:?} of CPU time for {} bytes, not {allowed:?}", target.name, input.len());
    let (bytes, bound) = (used.bytes_max, target.allocates);
    assert!(bytes <= bound, "{} allocated {bytes} bytes for {} bytes, not {bound}", target.name, input.len());
}

/// How many times slower this machine and build are than the reference.
fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let start = cpu_time();
        black_box((0..4_000_000u64).fold(1u64, |sum, n| black_box(sum.rotate_left(5) ^ n)));
        let took = cpu_time() - start;
        1 + u32::try_from(took.as_nanos() / WORK_TIME.as_nanos()).unwrap_or(u32::MAX - 1)
    })
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
