//! The PROXY protocol, versions 1 and 2: how a load balancer that passes bytes on says whose they are. It is read
//! before anything else of the connection, TLS included, and never past its end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its end of line included.
const TEXT_BYTES_MAX: usize = 107;
/// The addresses of version 2 for IPv4: two of them and two ports.
const IPV4_BYTES: usize = 12;
/// The same for IPv6.
const IPV6_BYTES: usize = 36;

/// Reads the header. None when the proxy speaks for itself (`LOCAL`, as in health checks) or names no IP address.
///
/// # Errors
/// The connection does not begin with a valid header, or ends within it.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<SocketAddr>> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        binary(stream).await
    } else if begin.starts_with(b"PROXY ") {
        text(stream, begin.to_vec()).await
    } else {
        Err(invalid("there is no header of the PROXY protocol"))
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The rest of version 2: command, family, length, addresses, and extensions, which are passed over.
async fn binary<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let mut addresses = [0; IPV6_BYTES];
    let known = len.min(IPV6_BYTES);
    stream.read_exact(&mut addresses[..known]).await?;
    skip(stream, len - known).await?;
    match (command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) if len >= IPV4_BYTES => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = addresses;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)))
        }
        (0x21, 0x21) if len >= IPV6_BYTES => {
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port)))
        }
        (0x21, 0x11 | 0x21) => Err(invalid("the addresses of the PROXY header are cut short")),
        (0x21, _) => Ok(None),
        _ => Err(invalid("version or command of the PROXY header is unknown")),
    }
}

async fn skip<S: AsyncRead + Unpin>(stream: &mut S, mut left: usize) -> io::Result<()> {
    let mut unwanted = [0; 256];
    while left > 0 {
        let part = left.min(unwanted.len());
        stream.read_exact(&mut unwanted[..part]).await?;
        left -= part;
    }
    Ok(())
}

/// The rest of version 1, read byte by byte: what follows its end of line belongs to the client.
async fn text<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut line: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    while !line.ends_with(b"\r\n") {
        if line.len() == TEXT_BYTES_MAX {
            return Err(invalid("the PROXY header is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line[..line.len() - 2]).unwrap_or_default();
    let fields: Vec<_> = line.split(' ').collect();
    let source = match fields[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", family, source, destination, port, to] => {
            source_of(family, [source, destination], [port, to])
        }
        _ => None,
    };
    source.map(Some).ok_or_else(|| invalid("the PROXY header is malformed"))
}

fn source_of(family: &str, addresses: [&str; 2], ports: [&str; 2]) -> Option<SocketAddr> {
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let (source, port) = (address(addresses[0])?, ports[0].parse().ok()?);
    address(addresses[1])?;
    ports[1].parse::<u16>().ok()?;
    Some(SocketAddr::new(source, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read of `bytes`, and what is left of them.
    fn parse(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read(&mut bytes));
        (result, bytes)
    }

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn text_headers_name_the_client() {
        for (line, source) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 40000 80", Some("203.0.113.9:40000")),
            ("PROXY TCP6 2001:db8::1 ::1 40000 80", Some("[2001:db8::1]:40000")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", None),
        ] {
            let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
            let (read, rest) = parse(bytes.as_bytes());
            assert_eq!(read.unwrap(), source.map(|text| text.parse().unwrap()), "{line}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "nothing of the request is taken");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for line in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 70000 80\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1",
        ] {
            assert!(parse(line.as_bytes()).0.is_err(), "{line}");
        }
        let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        assert!(parse(endless.as_bytes()).0.is_err());
    }

    #[test]
    fn binary_headers_name_the_client_and_their_extensions_are_passed_over() {
        let mut ipv4 = vec![203, 0, 113, 9, 10, 0, 0, 1, 0x9c, 0x40, 0, 80];
        ipv4.extend([0x04; 700]);
        let mut bytes = binary(0x21, 0x11, &ipv4);
        bytes.extend(b"GET");
        let (read, rest) = parse(&bytes);
        assert_eq!(read.unwrap(), Some("203.0.113.9:40000".parse().unwrap()));
        assert_eq!(rest, b"GET");
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        ipv6[15] = 1;
        ipv6[33] = 7;
        let bytes = binary(0x21, 0x21, &ipv6);
        assert_eq!(parse(&bytes).0.unwrap(), Some("[2001:db8::1]:7".parse().unwrap()));
        for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x31)] {
            assert_eq!(parse(&binary(command, family, &ipv4)).0.unwrap(), None);
        }
        for (command, family, payload) in [
            (0x21, 0x11, &ipv4[..11]),
            (0x21, 0x21, &ipv6[..35]),
            (0x22, 0x11, &ipv4),
            (0x11, 0x11, &ipv4),
        ] {
            assert!(parse(&binary(command, family, payload)).0.is_err(), "{command} {family}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_past_the_header(
            begin in prop_oneof![
                Just(SIGNATURE.to_vec()),
                Just(b"PROXY TCP4 1.2.3.4 1.2.3.4 ".to_vec()),
                Just(Vec::new()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [begin, rest].concat();
            let (result, left) = parse(&bytes);
            let taken = bytes.len() - left.len();
            if result.is_ok() {
                let is_text = bytes.starts_with(b"PROXY ");
                let end = match is_text {
                    true => bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2,
                    false => 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]])),
                };
                prop_assert_eq!(taken, end);
            }
        }
    }
}
