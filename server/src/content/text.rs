//! Plain text: what is a string is sent bare, everything else as its JSON text.

/// Appends one value.
pub(super) fn push(text: &[u8], out: &mut Vec<u8>) {
    match serde_json::from_slice::<String>(text) {
        Ok(bare) => out.extend_from_slice(bare.as_bytes()),
        Err(_) => out.extend_from_slice(text),
    }
}
