//! Why a request is not read any further.

use crate::error::{Code, Failure};
use std::fmt;

/// A request that is refused before it has been read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What kind of failure it is.
    pub(crate) code: Code,
    sentence: &'static str,
    /// Line of the head, from 1; 0 when it is none in particular.
    line: usize,
}

impl Refusal {
    /// The client was too slow with a head (RFC 9110 §15.5.9).
    pub(crate) const TIMEOUT: Self =
        Self::new(Code::RequestTimeout, "The request did not arrive in time");
    /// The client ended the connection within a head.
    pub(crate) const ENDED: Self =
        Self::new(Code::BadRequest, "The connection ended within the head of a request");
    /// Bytes after a refused request, which nobody looks at.
    pub(super) const UNREAD: Self = Self::new(Code::BadRequest, "");

    /// A malformed request.
    pub(super) const fn bad(sentence: &'static str) -> Self {
        Self::new(Code::BadRequest, sentence)
    }

    /// A refusal of this kind.
    pub(super) const fn new(code: Code, sentence: &'static str) -> Self {
        Self { code, sentence, line: 0 }
    }

    /// The same with the line of the head that it is about.
    pub(super) const fn at(mut self, line: usize) -> Self {
        self.line = line;
        self
    }

    /// What the client is told; the connection is closed after that.
    pub(crate) fn failure(&self) -> Box<Failure> {
        Failure::new(self.code, self.to_string()).closing()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence)?;
        match self.line {
            0 => Ok(()),
            line => write!(f, " (line {line} of the request)"),
        }
    }
}

impl std::error::Error for Refusal {}
