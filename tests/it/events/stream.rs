//! A client of event streams that reads as the standard says (WHATWG HTML §9.2.6).

use crate::harness::{Reply, Server, Wire};
use serde_json::Value;
use ureq::http::HeaderMap;

/// An open stream.
pub(crate) struct Stream {
    wire: Wire,
    /// The headers of the answer.
    pub(crate) headers: HeaderMap,
    received: String,
    /// The last event id that was set.
    pub(crate) last_id: String,
    /// Time to wait before asking again.
    pub(crate) retry: Option<u64>,
    /// Comments so far.
    pub(crate) comments: usize,
    name: String,
    data: Vec<String>,
}

/// An event as a page sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// The last event id then.
    pub(crate) id: String,
    /// `message` when it has no name.
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Event {
    /// Its type and key, such as `put 1`.
    pub(crate) fn short(&self) -> String {
        let text = |name: &str| self.data[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("type"), text("id"))
    }
}

impl Stream {
    /// Asks for a stream; fails when the answer is none.
    #[track_caller]
    pub(crate) fn open(server: &Server, target: &str, headers: &[(&str, &str)]) -> Self {
        match Self::ask(server, target, headers) {
            Ok(stream) => stream,
            Err(reply) => panic!("no stream: {reply}"),
        }
    }

    /// Asks for a stream; the answer when that is an error.
    pub(crate) fn ask(
        server: &Server,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<Reply>> {
        Self::over(server.wire(), target, headers)
    }

    /// The same on a connection that is open.
    pub(crate) fn over(
        mut wire: Wire,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<Reply>> {
        let mut head =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.send(head + "\r\n");
        let (status, headers) = wire.head().expect("an answer");
        if status != 200 {
            let length = headers["content-length"].to_str().unwrap().parse().unwrap();
            let body = wire.take(length).unwrap();
            return Err(Box::new(Reply { status, headers, body }));
        }
        Ok(Self {
            wire,
            headers,
            received: String::new(),
            last_id: String::new(),
            retry: None,
            comments: 0,
            name: String::new(),
            data: Vec::new(),
        })
    }

    /// Goes on where another stream was.
    #[track_caller]
    pub(crate) fn resume(server: &Server, target: &str, id: &str) -> Self {
        let mut stream = Self::open(server, target, &[("Last-Event-ID", id)]);
        stream.last_id = id.to_owned();
        stream
    }

    /// The next event; none when the stream or the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let line = self.line()?;
            if let Some(event) = self.field(&line) {
                return Some(event);
            }
        }
    }

    /// The next events, in short.
    #[track_caller]
    pub(crate) fn short(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().expect("an event").short()).collect()
    }

    /// Waits until the stream has set its place in the log.
    #[track_caller]
    pub(crate) fn place(&mut self) -> String {
        while self.last_id.is_empty() {
            let line = self.line().expect("a place");
            assert!(self.field(&line).is_none(), "an event came before the place");
        }
        self.last_id.clone()
    }

    /// Waits for the next comment.
    #[track_caller]
    pub(crate) fn comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            let line = self.line().expect("a comment");
            assert!(self.field(&line).is_none(), "an event came before the comment");
        }
    }

    /// A line, and what it makes complete.
    fn field(&mut self, line: &str) -> Option<Event> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if data.is_empty() {
                    return None;
                }
                return Some(Event {
                    id: self.last_id.clone(),
                    name: if name.is_empty() { "message".to_owned() } else { name },
                    data: serde_json::from_str(&data.join("\n")).unwrap(),
                });
            }
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push(value.to_owned()),
            "id" => value.clone_into(&mut self.last_id),
            "retry" => self.retry = Some(value.parse().unwrap()),
            other => panic!("no field of event streams: {other}"),
        }
        None
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.received.split_once('\n') {
                let line = line.to_owned();
                self.received = rest.to_owned();
                return Some(line);
            }
            let chunk = self.wire.chunk().filter(|chunk| !chunk.is_empty())?;
            self.received.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
