//! The port: taken first, opened last.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::Error;

/// How many connections may wait to be accepted; the kernel has a bound of its own, commonly 4096.
const BACKLOG: u32 = 1024;

/// An address that is taken, but not yet open: clients that come too early are turned away at
/// once, where they would wait on one that is.
#[derive(Debug)]
pub struct Socket {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Takes an address.
    ///
    /// # Errors
    /// [`Error::Listen`], if it is taken or not to be had.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let bind = || -> io::Result<TcpSocket> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restarted server gets its port back although old connections still linger.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        bind().map(|socket| Self { socket, address }).map_err(|source| Error::Listen { address, source })
    }

    /// Lets clients connect, and tells where: port 0 has become a real one.
    pub(super) fn listen(self) -> Result<(TcpListener, SocketAddr), Error> {
        let Self { socket, address } = self;
        let listen = || -> io::Result<_> {
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        listen().map_err(|source| Error::Listen { address, source })
    }
}
