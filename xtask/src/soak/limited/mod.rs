//! A second daemon with few resources: 256 descriptors, the least memory, and a clock that jumps.

use super::SoakTarget;
use crate::bench::bench_broker::Daemon;
use crate::preload::PreloadedLibrary;
use std::path::Path;

/// Limit of open files and connections.
const DESCRIPTORS: u32 = 256;
/// The least memory of a broker.
const MEMORY: &str = "16MiB";

/// Starts the daemon with its data below `directory`.
pub(super) async fn start(program: &Path, directory: &Path) -> anyhow::Result<(Daemon, SoakTarget)> {
    let data_dir = directory.join("limited");
    let clock = PreloadedLibrary::build(directory, "src/soak/limited/clock_shift.c", "CLOCK_SHIFT")?;
    // The shell sets the limit, hard and soft, and becomes the daemon.
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    let arguments = ["-c".as_ref(), script.as_ref(), program.as_os_str(), "--memory".as_ref(), MEMORY.as_ref()];
    let daemon = Daemon::start_as(&clock.variables(), "sh".as_ref(), &arguments, &data_dir).await?;
    let target = SoakTarget {
        name: "limited",
        broker: daemon.broker().clone(),
        http: daemon.http().to_owned(),
        data_dir,
        clock: Some(clock),
    };
    Ok((daemon, target))
}
