//! `multipart/form-data` (RFC 7578): fields typed by the schema, files as binary values.

use super::body::{Limits, content, invalid};
use super::{cell, form, json};
use crate::error::{Answer, Code, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use harper_store::{Kind, TableSchema};
use multer::Multipart;
use std::borrow::Cow;
use std::convert::Infallible;

/// The media type of bytes that say nothing of themselves.
const OCTETS: &str = "application/octet-stream";

/// The boundary that `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    multer::parse_boundary(content_type).ok()
}

/// A part of the form.
struct Part {
    name: String,
    /// The type of a file; none for a field.
    file: Option<String>,
    data: Bytes,
}

/// The body as the JSON text of one record.
///
/// # Errors
/// 400 with what is wrong, 413 for too many parts.
pub(super) fn to_json(
    schema: &TableSchema,
    boundary: &str,
    limits: Limits,
    body: Bytes,
) -> Answer<Vec<u8>> {
    // the body is there whole, so nothing waits
    let read = parts(boundary, limits, body).now_or_never();
    let parts = read.unwrap_or_else(|| Err(invalid("The body ends too early".into())))?;
    let (files, fields): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.file.is_some());
    let fields = fields.into_iter().map(|part| Ok((Cow::from(&part.name), text(part)?)));
    let fields = fields.collect::<Answer<Vec<_>>>()?;
    let mut out = form::fields_to_json(schema, fields.into_iter())?;
    out.pop();
    for part in files {
        if out.len() > 1 {
            out.push(b',');
        }
        json::push_string(&part.name, &mut out);
        out.push(b':');
        push_file(cell::kind_of(schema, &part.name), part, &mut out)?;
    }
    out.push(b'}');
    Ok(out)
}

async fn parts(boundary: &str, limits: Limits, body: Bytes) -> Answer<Vec<Part>> {
    let wrong = |error: multer::Error| {
        invalid(format!("The body is not valid multipart/form-data: {error}"))
    };
    let mut reader = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let mut parts = Vec::new();
    while let Some(field) = reader.next_field().await.map_err(wrong)? {
        if parts.len() == limits.parts_max {
            let sentence = format!("The body has more than {} parts", limits.parts_max);
            return Err(Failure::new(Code::BodyTooLarge, sentence));
        }
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(invalid(format!("Part {} has no name", parts.len() + 1)));
        };
        let kind = field.content_type().map(ToString::to_string);
        let is_file = field.file_name().is_some()
            || kind.as_deref().is_some_and(|kind| !kind.starts_with("text/plain"));
        let file = is_file.then(|| kind.unwrap_or_else(|| OCTETS.to_owned()));
        parts.push(Part { name, file, data: field.bytes().await.map_err(wrong)? });
    }
    Ok(parts)
}

fn text(part: &Part) -> Answer<Cow<'_, str>> {
    std::str::from_utf8(&part.data)
        .map(Cow::Borrowed)
        .map_err(|_| invalid(format!("The field {} is not UTF-8", part.name)))
}

fn push_file(kind: &Kind, part: &Part, out: &mut Vec<u8>) -> Answer<()> {
    let media_type = part.file.as_deref().unwrap_or(OCTETS);
    match kind {
        Kind::Bytes => json::push_string(&STANDARD.encode(&part.data), out),
        Kind::Blob if media_type == OCTETS => {
            json::push_string(&STANDARD.encode(&part.data), out);
        }
        Kind::Blob | Kind::Any => out.extend_from_slice(&content(media_type, &part.data)),
        kind => cell::push(kind, &text(part)?, out),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::Attribute;

    fn schema() -> TableSchema {
        TableSchema::new(
            "data",
            "T",
            vec![
                Attribute::new("id", Kind::Id),
                Attribute::new("age", Kind::Int),
                Attribute::new("photo", Kind::Blob),
                Attribute::new("raw", Kind::Bytes),
                Attribute::new("note", Kind::String),
            ],
        )
    }

    fn read(parts: &[&str], parts_max: usize) -> Answer<String> {
        let body: String = parts
            .iter()
            .map(|part| format!("--xyz\r\nContent-Disposition: form-data; {part}\r\n"))
            .collect();
        let limits = Limits { parts_max, json_bytes_max: 1 << 20 };
        let body = Bytes::from(format!("{body}--xyz--\r\n"));
        to_json(&schema(), "xyz", limits, body).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn fields_are_typed_and_files_are_bytes_with_their_type() {
        let file = "filename=\"a.bin\"\r\nContent-Type: image/png\r\n\r\nhi";
        let json = read(
            &[
                "name=\"id\"\r\n\r\n1",
                "name=\"age\"\r\n\r\n7",
                &format!("name=\"photo\"; {file}"),
                &format!("name=\"raw\"; {file}"),
                &format!("name=\"note\"; {file}"),
            ],
            5,
        );
        assert_eq!(
            json.unwrap(),
            r#"{"id":"1","age":7,"photo":{"contentType":"image/png","data":"aGk="},"raw":"aGk=","note":"hi"}"#
        );
        assert_eq!(read(&[&format!("name=\"raw\"; {file}")], 5).unwrap(), r#"{"raw":"aGk="}"#);
    }

    #[test]
    fn mistakes_and_too_many_parts_are_refused() {
        let many = ["name=\"a\"\r\n\r\n1", "name=\"b\"\r\n\r\n2"];
        assert_eq!(read(&many, 1).unwrap_err().code, Code::BodyTooLarge);
        assert!(read(&["filename=\"x\"\r\n\r\n1"], 9).unwrap_err().message.contains("no name"));
        let limits = Limits { parts_max: 9, json_bytes_max: 99 };
        let cut = Bytes::from("--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1");
        assert!(to_json(&schema(), "xyz", limits, cut).is_err());
    }
}
