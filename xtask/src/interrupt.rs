//! SIGINT and SIGTERM end a measurement and the daemons that it started.

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the work to its end. A signal drops the work, with everything that it holds.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        biased; // Finished work wins over a signal.
        done = work => done,
        _ = interrupt.recv() => bail!("ended by SIGINT"),
        _ = terminate.recv() => bail!("ended by SIGTERM"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_signal_ends_the_work_and_drops_what_it_holds() {
        for signal in [Signal::INT, Signal::TERM] {
            let held = Arc::new(());
            let holds = held.clone();
            let work = async move {
                kill_process(getpid(), signal)?;
                std::future::pending::<()>().await;
                drop(holds);
                Ok(())
            };
            unless_interrupted(work).await.unwrap_err();
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[tokio::test]
    async fn without_a_signal_the_work_is_done() {
        assert_eq!(unless_interrupted(async { Ok(7) }).await.unwrap(), 7);
    }
}
