//! The listening socket: bound first, opened last.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted. The kernel has its own limit, commonly 4096.
const BACKLOG: u32 = 1024;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound address that does not listen yet: early clients are refused at once instead of waiting.
#[derive(Debug)]
pub struct Socket {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds an address.
    ///
    /// # Errors
    /// If it is in use or unavailable.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || -> io::Result<TcpSocket> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restarted server can bind its port while old connections still linger.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        bind().map(|socket| Self { socket, address }).map_err(|source| ListenError { address, source })
    }

    /// Starts to listen, and returns the address with the actual port.
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
            "; another program or bank-server uses it: stop that one, or choose another address with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose another port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have that address: choose another one with --listen"
        }
        _ => "",
    }
}
