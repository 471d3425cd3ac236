//! Listening sockets: one for each worker on the same address, between which the kernel spreads connections
//! (`SO_REUSEPORT`).

use harper_config::Port;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections that the kernel keeps waiting for each socket.
const BACKLOG: i32 = 1024;

/// The address that a port without one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every address of the machine.
    Everyone,
    /// This machine alone.
    Loopback,
}

/// Binds `count` sockets to one address. Port 0 is replaced by the port the system gave to the first.
///
/// # Errors
/// The address is in use, by another process too, or is not one of this machine.
pub(crate) fn bind(port: &Port, reach: Reach, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut address = first_usable(port, reach)?;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The address to bind. It is bound once without sharing, since a shared bind would succeed beside another
/// process and silently split the connections with it.
fn first_usable(port: &Port, reach: Reach) -> io::Result<SocketAddr> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in candidates(port, reach)? {
        match socket(address).and_then(|socket| socket.bind(&address.into())) {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn candidates(port: &Port, reach: Reach) -> io::Result<Vec<SocketAddr>> {
    let hosts: Vec<IpAddr> = match (&port.host, reach) {
        (Some(host), _) => vec![host.parse().map_err(io::Error::other)?],
        (None, Reach::Loopback) => vec![Ipv4Addr::LOCALHOST.into()],
        // a socket on :: takes IPv4 too; a machine without IPv6 refuses it
        (None, Reach::Everyone) => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    };
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port.port)).collect())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_share_a_port_and_a_second_bind_is_refused() {
        let any = Port { host: Some("127.0.0.1".into()), port: 0 };
        let listeners = bind(&any, Reach::Everyone, 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        let same = Port { host: Some("127.0.0.1".into()), port: ports[0] };
        assert_eq!(bind(&same, Reach::Everyone, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
