//! The port: taken first, opened last.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted; the kernel has a bound of its own, commonly 4096.
const BACKLOG: u32 = 1024;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

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
    /// [`ListenError`], if it is taken or not to be had.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || -> io::Result<TcpSocket> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restarted server gets its port back although old connections still linger.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        bind().map(|socket| Self { socket, address }).map_err(|source| ListenError { address, source })
    }

    /// Lets clients connect, and tells where: port 0 has become a real one.
    pub(crate) fn listen(self) -> Result<(TcpListener, SocketAddr), ListenError> {
        let Self { socket, address } = self;
        let listen = || -> io::Result<_> {
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        listen().map_err(|source| ListenError { address, source })
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, or another bank-server, has it: stop that one, or choose another with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose another with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have that address: choose another with --listen"
        }
        _ => "",
    }
}
