//! The limit of a round trip: a request of 1 KiB over loopback to another thread, and a short response.

use super::pair;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const REQUEST: usize = 1024;
const ANSWER: usize = 64;

/// A thread that answers until this is dropped.
pub(in crate::bench) struct Echo {
    near: TcpStream,
}

impl Echo {
    pub(in crate::bench) fn start() -> anyhow::Result<Self> {
        let (near, mut far) = pair()?;
        thread::spawn(move || {
            let mut request = [0; REQUEST];
            while far.read_exact(&mut request).is_ok() && far.write_all(&[0; ANSWER]).is_ok() {}
        });
        Ok(Self { near })
    }

    /// Measures one round trip.
    pub(in crate::bench) fn ping(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.near.write_all(&[7; REQUEST])?;
        self.near.read_exact(&mut [0; ANSWER])?;
        Ok(began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ping_is_answered() {
        let mut echo = Echo::start().unwrap();
        for _ in 0..3 {
            assert!(!echo.ping().unwrap().is_zero());
        }
    }
}
