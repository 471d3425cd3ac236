//! A connection as it is accepted, before anything is said on it.

use crate::exchange::linger;
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

/// The user id of root.
const ROOT: u32 = 0;

/// An accepted connection.
pub(crate) enum Stream {
    /// Over the network, with the address of the other end.
    Tcp(TcpStream, SocketAddr),
    /// Of a program on this machine, which speaks for the server's own user.
    Unix(UnixStream),
}

impl Stream {
    /// Sees to it that small answers do not wait for the client's acknowledgement.
    pub(crate) fn hurry(&self) {
        if let Self::Tcp(stream, _) = self {
            let _ = stream.set_nodelay(true);
        }
    }

    /// Whether the other end may use the connection. That of a Unix socket is a super user without a login, and so must be
    /// the server's own user or root, as the kernel says (SO_PEERCRED, unix(7)): the file's mode alone would not do where somebody changes it.
    ///
    /// # Errors
    /// The system does not say who it is.
    pub(crate) fn may_enter(&self) -> io::Result<bool> {
        let Self::Unix(stream) = self else { return Ok(true) };
        let own = rustix::process::geteuid().as_raw();
        Ok(is_owner(stream.peer_cred()?.uid(), own))
    }

    /// Says a last word and closes. The client is turned away; whether it hears why is its own affair.
    pub(crate) async fn turn_away(self, word: &[u8]) {
        match self {
            Self::Tcp(mut stream, _) => {
                let _ = stream.write_all(word).await;
                let _ = stream.shutdown().await;
            }
            Self::Unix(mut stream) => {
                let _ = stream.write_all(word).await;
                let _ = stream.shutdown().await;
                linger(stream).await;
            }
        }
    }
}

fn is_owner(peer: u32, own: u32) -> bool {
    peer == own || peer == ROOT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_user_and_root_may_enter_and_nobody_else() {
        assert!(is_owner(1000, 1000) && is_owner(ROOT, 1000) && is_owner(ROOT, ROOT));
        assert!(!is_owner(1001, 1000) && !is_owner(1000, ROOT));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_pair_of_this_process_is_ones_own() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(Stream::Unix(one).may_enter().unwrap());
    }
}
