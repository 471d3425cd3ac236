//! Listening sockets, plain and secure: one for each worker on the same address, between which the kernel spreads connections
//! (`SO_REUSEPORT`); and the one Unix socket.

mod local;

use crate::exchange::Interface;
use crate::tls::Tls;
use harper_config::Port;
use local::SocketFile;
use socket2::{Domain, Protocol, SockFilter, SockRef, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

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

/// One socket, and what is spoken on it. Several workers may accept on it; it is closed with the last clone.
#[derive(Clone)]
pub(crate) struct Listener {
    /// The socket.
    pub socket: Socket,
    /// Where certificates come from; none when connections are not encrypted.
    pub tls: Option<Arc<Tls>>,
    /// What is served.
    pub interface: Interface,
}

/// A listening socket.
#[derive(Clone)]
pub(crate) enum Socket {
    /// Of the network.
    Tcp(Arc<TcpListener>),
    /// Of this machine.
    Unix(Arc<UnixListener>),
}

/// Where something listens.
enum Place {
    Address(SocketAddr),
    File(SocketFile),
}

/// A place, and all sockets bound to it.
pub(crate) struct Endpoint {
    place: Place,
    tls: Option<Arc<Tls>>,
    interface: Interface,
    sockets: Vec<Listener>,
}

impl Endpoint {
    /// The first socket of an address; a secure one where there is `tls`. Port 0 is replaced by the port that the system
    /// gives.
    ///
    /// # Errors
    /// The address is in use, by another process too, or is not one of this machine.
    pub(crate) fn bind(
        port: &Port,
        reach: Reach,
        interface: Interface,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Self> {
        let address = first_usable(port, reach)?;
        let place = Place::Address(address);
        let mut endpoint = Self { place, tls, interface, sockets: Vec::new() };
        endpoint.grow(1)?;
        Ok(endpoint)
    }

    /// A Unix socket, whose file goes with the endpoint.
    ///
    /// # Errors
    /// The path cannot be one's, or something else has it.
    pub(crate) fn bind_file(path: &Path, interface: Interface) -> io::Result<Self> {
        let (file, socket) = SocketFile::bind(path)?;
        let socket = Socket::Unix(Arc::new(socket));
        let sockets = vec![Listener { socket, tls: None, interface }];
        Ok(Self { place: Place::File(file), tls: None, interface, sockets })
    }

    /// The address that it is bound to; a Unix socket has none.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(address) => Some(*address),
            Place::File(_) => None,
        }
    }

    /// The file of a Unix socket.
    #[must_use]
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::Address(_) => None,
            Place::File(file) => Some(file.path()),
        }
    }

    /// Its first socket, where it is one of the network.
    #[must_use]
    pub(crate) fn tcp(&self) -> Option<Arc<TcpListener>> {
        match &self.sockets.first()?.socket {
            Socket::Tcp(socket) => Some(Arc::clone(socket)),
            Socket::Unix(_) => None,
        }
    }

    /// Binds further sockets until there are `count`. There may be more already: none is closed while the process runs. Of a
    /// Unix socket there is one, on which all workers accept.
    ///
    /// # Errors
    /// The system's refusal of a socket.
    pub(crate) fn grow(&mut self, count: usize) -> io::Result<()> {
        let Place::Address(address) = &mut self.place else { return Ok(()) };
        while self.sockets.len() < count {
            let socket = socket(*address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from(socket);
            *address = socket.local_addr()?;
            let (tls, interface) = (self.tls.clone(), self.interface);
            self.sockets.push(Listener { socket: Socket::Tcp(Arc::new(socket)), tls, interface });
        }
        Ok(())
    }

    /// The sockets that worker `id` of `workers` accepts on: its own, and those that are nobody's own. A worker for which
    /// none could be bound accepts on another's.
    #[must_use]
    pub(crate) fn share(&self, id: usize, workers: usize) -> Vec<Listener> {
        let own = id.checked_rem(self.sockets.len());
        let is_mine = |number: usize| Some(number) == own || number >= workers;
        let mine = self.sockets.iter().enumerate().filter(|(number, _)| is_mine(*number));
        mine.map(|(_, listener)| listener.clone()).collect()
    }

    /// Has the kernel drop every further attempt to connect, unheard, while handshakes under way complete: a client tries
    /// again after a second and is then refused, instead of being accepted and reset. A system that cannot is left as it is.
    pub(crate) fn turn_away(&self) {
        for Listener { socket, .. } in &self.sockets {
            let Socket::Tcp(socket) = socket else { continue };
            if let Err(error) = SockRef::from(&**socket).attach_filter(&NO_SYN) {
                tracing::debug!(%error, "new connections cannot be turned away");
            }
        }
    }
}

/// A classic BPF program over the TCP header (RFC 9293 §3.1): drop a segment whose SYN is set and whose ACK is not.
const NO_SYN: [SockFilter; 5] = [
    // load the byte of the flags
    SockFilter::new(0x30, 0, 0, 13),
    // keep ACK and SYN
    SockFilter::new(0x54, 0, 0, 0x12),
    // SYN alone: go on, else skip one
    SockFilter::new(0x15, 0, 1, 0x02),
    // drop
    SockFilter::new(0x06, 0, 0, 0),
    // take the whole segment
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

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

fn socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
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

    fn any() -> Port {
        Port { host: Some("127.0.0.1".into()), port: 0 }
    }

    fn tcp(listener: &Listener) -> &Arc<TcpListener> {
        match &listener.socket {
            Socket::Tcp(socket) => socket,
            Socket::Unix(_) => panic!("a Unix socket"),
        }
    }

    #[test]
    fn many_sockets_share_a_port_and_a_second_bind_is_refused() {
        let mut endpoint =
            Endpoint::bind(&any(), Reach::Everyone, Interface::Application, None).unwrap();
        endpoint.grow(3).unwrap();
        let port = endpoint.address().unwrap().port();
        let sockets = endpoint.sockets.iter();
        assert!(sockets.clone().all(|l| tcp(l).local_addr().unwrap().port() == port));
        assert_eq!(sockets.len(), 3);
        let same = Port { host: Some("127.0.0.1".into()), port };
        let refused =
            Endpoint::bind(&same, Reach::Everyone, Interface::Application, None).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn every_socket_has_a_worker_however_many_there_are() {
        let mut endpoint =
            Endpoint::bind(&any(), Reach::Everyone, Interface::Application, None).unwrap();
        endpoint.grow(4).unwrap();
        let ports = |id: usize, workers: usize| {
            let share = endpoint.share(id, workers);
            let number = |l: &Listener| {
                endpoint.sockets.iter().position(|s| Arc::ptr_eq(tcp(s), tcp(l))).unwrap()
            };
            share.iter().map(number).collect::<Vec<_>>()
        };
        assert_eq!(ports(0, 4), [0]);
        assert_eq!(ports(3, 4), [3]);
        assert_eq!(ports(0, 2), [0, 2, 3]);
        assert_eq!(ports(1, 2), [1, 2, 3]);
        assert_eq!(ports(5, 6), [1], "a worker without a socket of its own shares one");
    }

    #[test]
    fn who_is_turned_away_is_not_accepted() {
        for (host, to) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let port = Port { host: Some(host.into()), port: 0 };
            // a machine may have no IPv6
            let Ok(endpoint) = Endpoint::bind(&port, Reach::Everyone, Interface::Application, None)
            else {
                continue;
            };
            let to = SocketAddr::new(to.parse().unwrap(), endpoint.address().unwrap().port());
            let connect = || {
                let patience = std::time::Duration::from_millis(300);
                std::net::TcpStream::connect_timeout(&to, patience)
            };
            let mut before = connect().unwrap();
            endpoint.turn_away();
            assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut, "{host}");
            // who was let in is heard
            let (mut accepted, _) = tcp(&endpoint.sockets[0]).accept().unwrap();
            std::io::Write::write_all(&mut before, b"x").unwrap();
            accepted.set_nonblocking(false).unwrap();
            std::io::Read::read_exact(&mut accepted, &mut [0]).unwrap();
        }
    }
}
