//! The beginning of a secure connection: the TLS handshake.

use crate::metrics::Handshake;
use crate::tls::{Offer, Tls};
use rustls::server::Acceptor;
use rustls::{HandshakeKind, ProtocolVersion};
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// What a client is told that speaks plain HTTP here.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 25\r\n\r\nThis port speaks HTTPS.\r\n";

/// Makes a connection secure with the certificate for the name that the client asks for, and tells with which.
///
/// # Errors
/// Why there was no handshake. The client has been told, as far as it listens.
pub(super) async fn accept(
    mut stream: TcpStream,
    tls: &Tls,
) -> Result<(TlsStream<TcpStream>, Arc<Offer>), Handshake> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) => return Err(Handshake::Closed),
        // every method begins with a letter, no TLS record does (RFC 8446 §5.1)
        Ok(_) if tls.is_http() && first[0].is_ascii_alphabetic() => {
            let _ = stream.write_all(PLAIN_HTTP).await;
            return Err(Handshake::PlainHttp);
        }
        Ok(_) => {}
        Err(_) => return Err(Handshake::Closed),
    }
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
    let hello = hello.map_err(|error| reason(&error))?;
    let offer = tls.choose(&hello.client_hello()).ok_or(Handshake::Incompatible)?;
    let stream = hello.into_stream(Arc::clone(&offer.server)).await;
    let stream = stream.map_err(|error| reason(&error))?;
    offer.check_resumed(stream.get_ref().1).map_err(|_| Handshake::Certificate)?;
    Ok((stream, offer))
}

/// The version that was agreed on, as it is written in logs and traces.
pub(super) fn version(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    }
}

/// Whether the client went on with a session that it had before (RFC 8446 §2.2).
pub(super) fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Why a handshake failed.
fn reason(error: &io::Error) -> Handshake {
    use rustls::Error;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Handshake::Closed;
    };
    match error {
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Handshake::Certificate,
        Error::PeerIncompatible(_) => Handshake::Incompatible,
        Error::AlertReceived(_) => Handshake::Refused,
        Error::NoApplicationProtocol => Handshake::Protocol,
        _ => Handshake::Invalid,
    }
}
