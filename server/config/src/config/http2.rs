//! `http.http2` and `http.http2Limits.*`.

use super::Reader;

/// HTTP/2 and what a client of it may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Http2 {
    /// Whether clients of the TLS listeners are offered it.
    pub is_enabled: bool,
    /// Streams of one connection at once.
    pub streams_max: u32,
    /// Requests taken back before their answer, less those that were answered.
    pub resets_max: u32,
    /// Requests taken back before they were looked at.
    pub pending_resets_max: usize,
    /// Streams ended for errors of the client.
    pub error_resets_max: usize,
    /// Bytes beyond the connection's window that get no request on.
    pub idle_bytes_max: usize,
    /// Size of a frame.
    pub frame_bytes_max: u32,
    /// Window of a stream.
    pub stream_window_bytes: u32,
    /// Window of a connection.
    pub connection_window_bytes: u32,
    /// Bytes of an answer that wait to be sent.
    pub send_buffer_bytes_max: usize,
}

impl Reader<'_> {
    pub(super) fn http2(&self) -> Http2 {
        let limit = |name| {
            u32::try_from(self.number(&format!("http.http2Limits.{name}"))).unwrap_or(u32::MAX)
        };
        let size = |name| self.size(&format!("http.http2Limits.{name}"));
        Http2 {
            is_enabled: self.flag("http.http2"),
            streams_max: limit("streamsMax"),
            resets_max: limit("resetsMax"),
            pending_resets_max: size("pendingResetsMax"),
            error_resets_max: size("errorResetsMax"),
            idle_bytes_max: size("idleBytesMax"),
            frame_bytes_max: limit("frameBytesMax"),
            stream_window_bytes: limit("streamWindowBytes"),
            connection_window_bytes: limit("connectionWindowBytes"),
            send_buffer_bytes_max: size("sendBufferBytesMax"),
        }
    }
}
