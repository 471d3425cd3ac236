//! Media types: which one the client wants (RFC 9110 §12), and records in it both ways. Stored records are JSON
//! text; JSON answers are those bytes as they are.

mod body;
pub(crate) mod cbor;
mod cell;
mod csv;
mod form;
pub(crate) mod json;
mod list;
mod msgpack;
mod multipart;
mod negotiate;
mod number;
mod text;
mod typed;
mod yaml;

pub(crate) use body::{BodyType, Limits, Shape, content, of_body, to_json, unsupported};
pub(crate) use list::{Columns, List};
pub(crate) use negotiate::{prefers_event_stream, weighted};

use crate::error::{Answer, Failure};
use harper_store::TableSchema;
use http::{HeaderValue, header};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON (RFC 8259).
    Json,
    /// CBOR (RFC 8949).
    Cbor,
    /// MessagePack.
    MsgPack,
    /// YAML (RFC 9512).
    Yaml,
    /// JSON texts, one a line.
    NdJson,
    /// Plain text: what is a string is sent bare.
    Text,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// `application/x-www-form-urlencoded` (WHATWG URL §5).
    Form,
}

/// A media type of answers and bodies: a format under one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    /// How it is written.
    pub format: Format,
    /// The name on the wire.
    pub name: &'static str,
}

const fn media(name: &'static str, format: Format) -> Media {
    Media { format, name }
}

impl Media {
    /// `application/json`.
    pub(crate) const JSON: Self = media("application/json", Format::Json);

    /// All there are, in the server's order of preference, which decides where the client has none.
    pub(crate) const ALL: [Self; 12] = [
        Self::JSON,
        media("application/cbor", Format::Cbor),
        media("application/x-msgpack", Format::MsgPack),
        media("application/msgpack", Format::MsgPack),
        media("application/vnd.msgpack", Format::MsgPack),
        media("application/yaml", Format::Yaml),
        media("application/x-ndjson", Format::NdJson),
        media("application/ndjson", Format::NdJson),
        media("application/x-www-form-urlencoded", Format::Form),
        media("text/yaml", Format::Yaml),
        media("text/plain", Format::Text),
        media("text/csv", Format::Csv),
    ];

    /// File name extensions that name a type at the end of a path.
    const EXTENSIONS: [(&str, Self); 8] = [
        ("json", Self::JSON),
        ("cbor", Self::ALL[1]),
        ("msgpack", Self::ALL[2]),
        ("yaml", Self::ALL[9]),
        ("yml", Self::ALL[9]),
        ("ndjson", Self::ALL[6]),
        ("txt", Self::ALL[10]),
        ("csv", Self::ALL[11]),
    ];

    /// The type that a file name extension names.
    #[must_use]
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        Self::EXTENSIONS.iter().find(|(name, _)| *name == extension).map(|(_, media)| *media)
    }

    /// The type with this name, in any case.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media| media.name.eq_ignore_ascii_case(name))
    }

    /// The names of all, for sentences.
    #[must_use]
    pub(crate) fn names() -> String {
        Self::ALL.map(|media| media.name).join(", ")
    }

    /// The `Content-Type` of an answer.
    #[must_use]
    pub(crate) fn header(self) -> HeaderValue {
        // made by the compiler, for most answers have it
        const JSON: HeaderValue = HeaderValue::from_static(Media::JSON.name);
        HeaderValue::from_static(match self.format {
            Format::Json => return JSON,
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Text => "text/plain; charset=utf-8",
            _ => self.name,
        })
    }

    /// Describes an answer of this type: `Content-Type`, and for CSV, which people save, a name.
    pub(crate) fn describe(self, headers: &mut http::HeaderMap) {
        headers.insert(header::CONTENT_TYPE, self.header());
        if self.format == Format::Csv {
            let name = HeaderValue::from_static("attachment; filename=\"data.csv\"");
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
    }

    /// What marks this type in an entity tag; nothing for JSON.
    #[must_use]
    pub(crate) const fn tag(self) -> &'static str {
        match self.format {
            Format::Json => "",
            Format::Cbor => "-c",
            Format::MsgPack => "-m",
            Format::Yaml => "-y",
            Format::NdJson => "-n",
            Format::Text => "-t",
            Format::Csv => "-v",
            Format::Form => "-f",
        }
    }
}

/// Appends one value, which is JSON text, in the format to `out`. When it is a record, or a part of one, `schema` gives
/// back the types that JSON does not have.
///
/// # Errors
/// 500 when the text is not JSON.
pub(crate) fn encode(
    format: Format,
    schema: Option<&TableSchema>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Answer<()> {
    let encoded = match format {
        Format::Json => {
            out.extend_from_slice(text);
            Ok(())
        }
        Format::NdJson => {
            out.extend_from_slice(text);
            out.push(b'\n');
            Ok(())
        }
        Format::Cbor => typed::value(schema, text).and_then(|value| cbor::push(value, out)),
        Format::MsgPack => typed::value(schema, text).and_then(|value| msgpack::push(&value, out)),
        Format::Yaml => typed::value(schema, text).and_then(|value| yaml::push(&value, out)),
        Format::Text => {
            text::push(text, out);
            Ok(())
        }
        Format::Csv => csv::push_table(text, out),
        Format::Form => form::push(text, out),
    };
    encoded.map_err(|error| Failure::internal("a value could not be written", &error))
}

/// Why a value could not be written: the text is not JSON.
type EncodeError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_extension_is_unique_and_known() {
        let mut names = Media::ALL.map(|media| media.name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Media::ALL.len());
        for (extension, media) in Media::EXTENSIONS {
            assert_eq!(Media::of_extension(extension), Some(media));
            assert_eq!(Media::named(&media.name.to_ascii_uppercase()), Some(media));
        }
        assert_eq!(Media::of_extension("png"), None);
    }

    #[test]
    fn formats_have_tags_of_their_own() {
        for one in Media::ALL {
            for other in Media::ALL {
                assert_eq!(one.tag() == other.tag(), one.format == other.format);
            }
        }
    }
}
