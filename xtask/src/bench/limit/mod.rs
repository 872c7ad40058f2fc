//! The limit programs: they move the same bytes and do only the necessary work.

mod consume;
mod produce;
mod round_trip;

pub(super) use consume::consume;
pub(super) use produce::produce;
pub(super) use round_trip::Echo;

use std::net::{TcpListener, TcpStream};

const MIB: usize = 1 << 20;
/// Bytes per write to a socket: the size at which loopback is fastest.
const WRITE_BYTES: usize = 64 << 10;

/// Two ends of a loopback connection.
fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let far = TcpStream::connect(listener.local_addr()?)?;
    let (near, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}
