//! A collector of traces that understands just enough: OTLP over HTTP, one connection after the other. It reads the
//! bytes of protobuf itself, so that it shares no mistake with the server.

use super::{eventually, server::text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request to the collector.
pub(crate) struct Post {
    pub(crate) head: String,
    body: Vec<u8>,
}

/// A collector that answers with each status in turn, and with the last from then on.
pub(crate) struct Collector {
    pub(crate) url: String,
    pub(crate) posts: Arc<Mutex<Vec<Post>>>,
}

impl Collector {
    pub(crate) fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posts);
        // ends with the process of the tests
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(&stream, statuses, &kept);
            }
        });
        Self { url, posts }
    }

    /// The spans that have arrived, with the resource they are of.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.posts.lock().unwrap().iter().flat_map(|post| spans(&post.body)).collect()
    }

    #[track_caller]
    pub(crate) fn span(&self, path: &str) -> Span {
        eventually(path, || self.spans().into_iter().find(|span| span.text("url.path") == path))
    }
}

fn serve(mut stream: &TcpStream, statuses: &[u16], posts: &Mutex<Vec<Post>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let status = {
            let mut posts = posts.lock().unwrap();
            posts.push(Post { head, body });
            *statuses.get(posts.len() - 1).unwrap_or(statuses.last().unwrap())
        };
        let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
    }
}

/// The fields of a protobuf message: number, and value as a number or as bytes.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => (key >> 3, varint(&mut bytes), &[][..]),
            1 => (key >> 3, u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap()), &[][..]),
            2 => {
                let length = varint(&mut bytes) as usize;
                (key >> 3, 0, take(&mut bytes, length))
            }
            5 => (
                key >> 3,
                u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into(),
                &[][..],
            ),
            other => panic!("wire type {other}"),
        };
        all.push(field);
    }
    all
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(length);
    *bytes = rest;
    first
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn inside(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message).into_iter().filter(|field| field.0 == number).map(|field| field.2).collect()
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, Value> {
    let pairs = inside(message, number).into_iter().map(|pair| {
        let value = fields(inside(pair, 2)[0])[0];
        let value = match value.0 {
            1 => Value::from(text(value.2)),
            3 => Value::from(value.1),
            other => panic!("a value of kind {other}"),
        };
        (text(inside(pair, 1)[0]), value)
    });
    pairs.collect()
}

/// A span as `opentelemetry/proto/trace/v1/trace.proto` numbers it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) resource: BTreeMap<String, Value>,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) bytes: BTreeMap<u64, Vec<u8>>,
    pub(crate) numbers: BTreeMap<u64, u64>,
}

impl Span {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn hex(&self, number: u64) -> String {
        let bytes = self.bytes.get(&number).cloned().unwrap_or_default();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn spans(body: &[u8]) -> Vec<Span> {
    let mut all = Vec::new();
    for part in inside(body, 1) {
        let resource = attributes(inside(part, 1)[0], 1);
        for span in inside(part, 2).into_iter().flat_map(|scope| inside(scope, 2)) {
            all.push(Span {
                resource: resource.clone(),
                attributes: attributes(span, 9),
                bytes: fields(span).into_iter().map(|field| (field.0, field.2.to_vec())).collect(),
                numbers: fields(span).into_iter().map(|field| (field.0, field.1)).collect(),
            });
        }
    }
    all
}
