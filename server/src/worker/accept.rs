//! Accepting connections on the sockets of listeners.

use crate::conn::Stream;
use crate::listen::Socket;
use std::io;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket as this worker's runtime knows it.
pub(super) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    /// Has the runtime of this worker look at a socket, by a file of its own, since another worker may wait on the same one.
    ///
    /// # Errors
    /// The system's refusal of a file.
    pub(super) fn on(socket: &Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket.try_clone()?)?),
            Socket::Unix(socket) => Self::Unix(UnixListener::from_std(socket.try_clone()?)?),
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Stream::Tcp(stream, peer)
            }
            Self::Unix(socket) => Stream::Unix(socket.accept().await?.0),
        })
    }
}

/// A connection that the kernel has queued on a socket.
///
/// # Errors
/// There is none, or the system's.
pub(super) fn queued(socket: &Socket) -> io::Result<io::Result<Stream>> {
    Ok(match socket {
        Socket::Tcp(socket) => {
            let (stream, peer) = socket.accept()?;
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            stream.map(|stream| Stream::Tcp(stream, peer))
        }
        Socket::Unix(socket) => {
            let (stream, _) = socket.accept()?;
            let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
            stream.map(Stream::Unix)
        }
    })
}
