//! The end of a connection whose client may still send.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read of a client that still sends after it was answered for the last time (RFC 9112 §9.6).
const LINGER_BYTES_MAX: usize = 512 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 4096;
/// Time for it.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Reads what still comes on a connection that has been closed for writing: closing it altogether while the client
/// sends would destroy an answer that it has not read yet (RFC 9112 §9.6).
pub(crate) async fn linger(mut stream: impl AsyncRead + Unpin) {
    let drained = async {
        let mut left = LINGER_BYTES_MAX;
        // not in the future, which has its place in the task of every connection
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    // a client that goes on sending has had its chance
    let _ = tokio::time::timeout(LINGER_TIME_MAX, drained).await;
}
