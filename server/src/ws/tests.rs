//! Frames against RFC 6455, section by section; and a handler of the kind that applications will bring.

use super::decode::{Arrived, Decoder, Limits};
use super::{
    Bytestream, Close, Handler, Kind, Layer, Message, Offer, Opening, Received, Serving, Socket,
    encode, frame, open,
};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Carrier, Client, Interface, Request, RequestBody};
use crate::metrics::Metrics;
use bytes::Bytes;
use harper_config::Sources;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const LIMITS: Limits = Limits { frame_bytes_max: 1000, message_bytes_max: 1500 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of a client: its first byte, and what it carries.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ ..126 => out.push(0x80 | len as u8),
        len @ ..65_536 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// What comes of frames, byte by byte and at once, up to the first mistake.
fn decode(is_deflated: bool, frames: &[Vec<u8>]) -> Result<Vec<Arrived>, u16> {
    let bytes = frames.concat();
    let read = |piece: usize| {
        let mut decoder = Decoder::new(LIMITS, is_deflated);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.receive(piece);
            while let Some(arrived) = decoder.next().map_err(|close| close.code)? {
                all.push(arrived);
            }
        }
        Ok(all)
    };
    let (whole, bytewise) = (read(bytes.len()), read(1));
    assert_eq!(whole, bytewise);
    whole
}

fn text(text: &str) -> Arrived {
    Arrived::Message(Message { is_text: true, payload: Bytes::from(text.to_owned()) })
}

fn binary(bytes: &[u8]) -> Arrived {
    Arrived::Message(Message { is_text: false, payload: Bytes::copy_from_slice(bytes) })
}

#[test]
fn examples_of_the_standard_are_read() {
    // §5.7
    let hello = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(false, &[hello]), Ok(vec![text("Hello")]));
    let parts = [client_frame(0x01, b"Hel"), client_frame(0x80, b"lo")];
    assert_eq!(decode(false, &parts), Ok(vec![text("Hello")]));
    let ping = client_frame(0x89, b"Hello");
    assert_eq!(decode(false, &[ping]), Ok(vec![Arrived::Ping(Bytes::from_static(b"Hello"))]));
    for len in [0, 1, 125, 126, 127, 256, 999, 1000] {
        let bytes = vec![7; len];
        assert_eq!(decode(false, &[client_frame(0x82, &bytes)]), Ok(vec![binary(&bytes)]), "{len}");
    }
}

#[test]
fn control_frames_come_between_the_parts_of_a_message() {
    // §5.4
    let frames = [
        client_frame(0x02, b"a"),
        client_frame(0x89, b"p"),
        client_frame(0x00, b""),
        client_frame(0x8a, b"q"),
        client_frame(0x80, b"b"),
        client_frame(0x81, b"c"),
    ];
    let arrived =
        [Arrived::Ping(Bytes::from_static(b"p")), Arrived::Pong, binary(b"ab"), text("c")];
    assert_eq!(decode(false, &frames), Ok(arrived.to_vec()));
}

#[test]
fn what_breaks_the_protocol_is_1002() {
    let unmasked = vec![0x81, 0x01, b'a'];
    let long = vec![0x82, 0x80 | 126, 0, 5];
    let very_long = vec![0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 1, 0];
    let negative = vec![0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    let with_mask = |mut frame: Vec<u8>| {
        frame.extend(MASK);
        frame
    };
    let mut wrong: Vec<(String, Vec<Vec<u8>>)> = vec![
        ("§5.1: no mask".into(), vec![unmasked]),
        ("§5.2: length not minimal".into(), vec![with_mask(long)]),
        ("§5.2: length not minimal".into(), vec![with_mask(very_long)]),
        ("§5.4: nothing to go on with".into(), vec![client_frame(0x80, b"a")]),
        (
            "§5.4: nothing to go on with after the end".into(),
            vec![client_frame(0x81, b"a"), client_frame(0x80, b"a")],
        ),
        (
            "§5.4: a message in a message".into(),
            vec![client_frame(0x01, b"a"), client_frame(0x81, b"b")],
        ),
        ("§5.5: a ping in parts".into(), vec![client_frame(0x09, b"a")]),
        ("§5.5: a ping of 126 bytes".into(), vec![client_frame(0x89, &[0; 126])]),
        ("§5.5.1: a close of one byte".into(), vec![client_frame(0x88, b"a")]),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        wrong.push((format!("§5.2: opcode {opcode}"), vec![client_frame(0x80 | opcode, b"")]));
    }
    for reserved in [0x10, 0x20, 0x40] {
        wrong.push((format!("§5.2: bit {reserved:x}"), vec![client_frame(0x81 | reserved, b"")]));
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let frame = client_frame(0x88, &code.to_be_bytes());
        wrong.push((format!("§7.4: code {code}"), vec![frame]));
    }
    for (what, frames) in wrong {
        assert_eq!(decode(false, &frames), Err(Close::PROTOCOL), "{what}");
    }
    // a length beyond all limits is one mistake or the other
    assert_eq!(decode(false, &[with_mask(negative)]), Err(Close::TOO_LARGE));
}

#[test]
fn codes_that_are_sent_are_taken() {
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend("why ü".bytes());
        let arrived = decode(false, &[client_frame(0x88, &payload)]);
        assert_eq!(arrived, Ok(vec![Arrived::Close(Some(code))]), "{code}");
    }
    assert_eq!(decode(false, &[client_frame(0x88, b"")]), Ok(vec![Arrived::Close(None)]));
    let frame = client_frame(0x88, b"\x03\xe8\xff");
    assert_eq!(decode(false, &[frame]), Err(Close::INVALID), "§5.5.1: the reason is UTF-8");
}

#[test]
fn text_is_utf_8_over_frames() {
    // §8.1: a character may be cut between two frames
    let word = "κόσμε🐕".as_bytes();
    for cut in 0..=word.len() {
        let frames = [client_frame(0x01, &word[..cut]), client_frame(0x80, &word[cut..])];
        assert_eq!(decode(false, &frames), Ok(vec![text("κόσμε🐕")]), "{cut}");
    }
    for wrong in [&b"\xff"[..], b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce"] {
        assert_eq!(decode(false, &[client_frame(0x81, wrong)]), Err(Close::INVALID), "{wrong:x?}");
        let arrived = decode(false, &[client_frame(0x82, wrong)]);
        assert_eq!(arrived, Ok(vec![binary(wrong)]), "bytes may be any");
    }
    // what no end can mend is refused before the end
    assert_eq!(decode(false, &[client_frame(0x01, b"\xed\xa0\x80")]), Err(Close::INVALID));
}

#[test]
fn frames_and_messages_have_limits() {
    let frame = |first, len| client_frame(first, &vec![b'a'; len]);
    assert_eq!(decode(false, &[frame(0x82, 1001)]), Err(Close::TOO_LARGE));
    let parts = [frame(0x01, 1000), frame(0x00, 500), frame(0x80, 0)];
    assert!(decode(false, &parts).is_ok());
    // a control frame is no part of the message that it comes between
    let parts = [frame(0x01, 1000), frame(0x00, 500), frame(0x89, 1), frame(0x80, 0)];
    assert!(decode(false, &parts).is_ok());
    assert_eq!(decode(false, &[frame(0x01, 1000), frame(0x00, 501)]), Err(Close::TOO_LARGE));
}

#[test]
fn compressed_messages_are_read_where_that_was_agreed() {
    // RFC 7692 §7.2.3.1 and §6.1: the first frame says it for the whole message
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(decode(true, &[client_frame(0xc1, &hello)]), Ok(vec![text("Hello")]));
    let parts = [client_frame(0x41, &hello[..3]), client_frame(0x80, &hello[3..])];
    assert_eq!(decode(true, &parts), Ok(vec![text("Hello")]));
    assert_eq!(decode(true, &[client_frame(0x81, b"Hello")]), Ok(vec![text("Hello")]));
    for (what, frames, code) in [
        ("not agreed", vec![client_frame(0xc1, &hello)], Close::PROTOCOL),
        (
            "on a later frame",
            vec![client_frame(0x41, &hello[..3]), client_frame(0xc0, &hello[3..])],
            Close::PROTOCOL,
        ),
        ("on a ping", vec![client_frame(0xc9, b"")], Close::PROTOCOL),
        ("nonsense", vec![client_frame(0xc1, &[0xff; 9])], Close::INVALID),
        // the bytes ff in a block that is not compressed
        ("no text", vec![client_frame(0xc1, &[0, 1, 0, 0xfe, 0xff, 0xff, 0])], Close::INVALID),
    ] {
        assert_eq!(decode(what != "not agreed", &frames), Err(code), "{what}");
    }
}

#[test]
fn frames_of_the_server_are_as_short_as_can_be() {
    assert_eq!(frame(Kind::Text, b"Hello")[..], *b"\x81\x05Hello");
    assert_eq!(frame(Kind::Binary, &[0; 126])[..4], *b"\x82\x7e\x00\x7e");
    assert_eq!(frame(Kind::Binary, &[0; 65_536])[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(encode::close(&Close::new(1001, "bye"))[..], *b"\x88\x05\x03\xe9bye");
    let long = encode::close(&Close::new(1001, "ü".repeat(100)));
    assert_eq!(long.len(), 2 + 2 + 122, "a character is not cut");
}

#[test]
fn a_fuzzer_s_input_is_read_alike_however_it_is_cut() {
    let frames = [client_frame(0x41, b"ab"), client_frame(0x89, b"p"), client_frame(0x80, b"")];
    for choice in 0..=255 {
        super::fuzz_decode(&[&[choice][..], &frames.concat()].concat());
    }
}

/// What an application may bring: it answers each message, and closes when it is told so.
struct Echo;

impl Handler for Echo {
    fn serve(self: Box<Self>, socket: &mut Socket) -> Serving<'_> {
        Box::pin(async move {
            socket.send(frame(Kind::Text, b"welcome"));
            loop {
                match poll_fn(|cx| socket.poll_receive(cx)).await {
                    Received::Message(message) if &message.payload[..] == b"enough" => {
                        return Close::new(4000, "as you wish");
                    }
                    Received::Message(message) => socket.send(frame(Kind::Text, &message.payload)),
                    Received::Room => {}
                    Received::End => return Close::new(Close::NORMAL, ""),
                }
            }
        })
    }
}

/// Takes what asks for `/echo`, refuses `/closed`, and leaves the rest to the next.
struct Echoes;

impl Layer for Echoes {
    fn take(&self, request: &Request, offer: &Offer<'_>) -> Answer<Option<Opening>> {
        match request.head.uri.path() {
            "/echo" => Ok(Some(Opening {
                handler: Box::new(Echo),
                protocol: offer.first_protocol(),
                is_compressible: true,
            })),
            "/closed" => Err(Failure::new(Code::Forbidden, "No")),
            _ => Ok(None),
        }
    }
}

fn request(path: &str) -> Request {
    let request = http::Request::get(path)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "chat, superchat")
        .header("sec-websocket-extensions", "permessage-deflate");
    let (head, ()) = request.body(()).unwrap().into_parts();
    let client = Client::of_connection(IpAddr::V4(Ipv4Addr::LOCALHOST), None, false);
    let mut request = Request::new(head, RequestBody::Empty, client, Interface::Application);
    request.is_web_socket = true;
    request
}

/// The other end of a socket that a layer has opened.
async fn opened() -> DuplexStream {
    let config = harper_config::load(&Sources::default()).config.unwrap();
    let request = request("/echo");
    let offer = Offer::of(&request).unwrap();
    let opening = Echoes.take(&request, &offer).unwrap().unwrap();
    let mut response = open(&config.http, &Metrics::default().worker(), &offer, opening);
    assert_eq!(response.status(), 101);
    // §1.3
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let upgrade = response.body_mut().take_upgrade().unwrap();
    let (ours, theirs) = duplex(64);
    let carrier = Carrier {
        io: Box::new(theirs),
        first: Bytes::from(client_frame(0x81, b"early")),
        ending: Box::pin(std::future::pending()),
    };
    tokio::task::spawn_local(upgrade.speak(carrier));
    ours
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn read(stream: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn a_handler_of_one_s_own_takes_a_socket_and_closes_it() {
    run(async {
        let mut client = opened().await;
        assert_eq!(read(&mut client, 9).await, b"\x81\x07welcome");
        assert_eq!(read(&mut client, 7).await, b"\x81\x05early");
        let long = vec![b'x'; 500];
        let (mut reader, mut writer) = tokio::io::split(client);
        // neither side waits for the other, though nothing but 64 bytes fits between them
        let writing = async {
            writer.write_all(&client_frame(0x81, &long)).await.unwrap();
            writer.write_all(&client_frame(0x89, b"?")).await.unwrap();
            writer.write_all(&client_frame(0x81, b"enough")).await.unwrap();
        };
        let reading = async {
            let mut bytes = vec![0; 4 + 500 + 3 + 15];
            reader.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let ((), bytes) = tokio::join!(writing, reading);
        assert_eq!(bytes[4..504], long);
        assert_eq!(bytes[504..507], *b"\x8a\x01?");
        assert_eq!(bytes[507..], *b"\x88\x0d\x0f\xa0as you wish");
        writer.write_all(&client_frame(0x88, &4000_u16.to_be_bytes())).await.unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0, "the server closes first");
    });
}

#[test]
fn a_layer_may_refuse_a_socket_or_pass_it_on() {
    let take = |path: &str| {
        let request = request(path);
        let offer = Offer::of(&request).unwrap();
        Echoes.take(&request, &offer).map(|taken| taken.is_some()).map_err(|failure| failure.code)
    };
    assert_eq!(take("/echo"), Ok(true));
    assert_eq!(take("/closed"), Err(Code::Forbidden));
    assert_eq!(take("/other"), Ok(false));
}

/// Reads three bytes and answers with four messages' worth of them.
struct Bytewise;

impl Handler for Bytewise {
    fn serve(self: Box<Self>, socket: &mut Socket) -> Serving<'_> {
        Box::pin(async move {
            let mut stream = Bytestream::new(socket);
            let mut three = [0; 3];
            let read = stream.read_exact(&mut three).await;
            if read.is_ok() {
                stream.write_all(&three).await.unwrap();
                stream.flush().await.unwrap();
            }
            let _ = stream.read(&mut three).await;
            stream.close()
        })
    }
}

#[test]
fn a_stream_is_cut_as_the_client_likes_and_ends_with_text() {
    run(async {
        let config = harper_config::load(&Sources::default()).config.unwrap();
        let (mut client, theirs) = duplex(1000);
        let open = Socket::opener(&config.http, &Metrics::default().worker(), None);
        let carrier = Carrier {
            io: Box::new(theirs),
            first: Bytes::new(),
            ending: Box::pin(std::future::pending()),
        };
        tokio::task::spawn_local(open(carrier).serve(Box::new(Bytewise)));
        for part in [client_frame(0x82, b"a"), client_frame(0x02, b"b"), client_frame(0x80, b"c")] {
            client.write_all(&part).await.unwrap();
        }
        assert_eq!(read(&mut client, 5).await, b"\x82\x03abc");
        client.write_all(&client_frame(0x81, b"text")).await.unwrap();
        assert_eq!(read(&mut client, 4).await[2..], Close::UNSUPPORTED.to_be_bytes());
    });
}
