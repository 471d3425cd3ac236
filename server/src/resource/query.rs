//! What a client asks of a table: conditions, order, range and selected attributes, in a URL or in the body of a
//! `QUERY`.
//!
//! Nothing that cannot be understood is dropped: every mistake is a 400 that names the place.

mod body;
mod condition;
mod functions;
mod text;

use super::model::Scope;
use super::select::Selection;
use crate::error::Answer;
use harper_store::{Kind, Query};

/// A query as it was asked.
#[derive(Default)]
pub(crate) struct Parsed {
    /// What to find, in which order, how much of it.
    pub query: Query,
    /// Which attributes to return; none means the whole record.
    pub select: Option<Selection>,
    /// Whether the plan is asked for instead of the records.
    pub explains: bool,
}

/// Parses what follows `?` in a URL.
///
/// # Errors
/// 400 naming the mistake and its position, counted in characters from 1; 403 for what may not be read.
pub(crate) fn parse(scope: &Scope<'_>, text: &str) -> Answer<Parsed> {
    text::parse(scope, text)
}

/// Parses the JSON text of a `QUERY`.
///
/// # Errors
/// 400 naming the mistake and the member it is in; 403 for what may not be read.
pub(crate) fn parse_body(scope: &Scope<'_>, body: &[u8]) -> Answer<Parsed> {
    body::parse(scope, body)
}

/// The type's name in a schema.
#[must_use]
pub(crate) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Array(element) => format!("[{}]", kind_name(&element.kind)),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests;
