//! The listening socket: bound first, opened last.

use std::{io, net::SocketAddr};

use anyhow::anyhow;
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted. The kernel has its own limit, commonly 4096.
const BACKLOG: u32 = 1024;

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
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let bind = || -> io::Result<TcpSocket> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restarted server can bind its port while old connections still linger.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        Ok(Self { socket: bind().map_err(|error| explain(address, &error))?, address })
    }

    /// Starts to listen, and returns the address with the actual port.
    pub(crate) fn listen(self) -> anyhow::Result<(TcpListener, SocketAddr)> {
        let explain = |error| explain(self.address, &error);
        let listener = self.socket.listen(BACKLOG).map_err(explain)?;
        let address = listener.local_addr().map_err(explain)?;
        Ok((listener, address))
    }
}

fn explain(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
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
    };
    anyhow!("cannot listen on {address}: {error}{hint}")
}
