//! `application/x-www-form-urlencoded` (WHATWG URL §5). An object or array as a value is its JSON text.

use super::body::invalid;
use super::{EncodeError, cell, json};
use crate::error::Answer;
use form_urlencoded::Serializer;
use harper_store::{Kind, TableSchema};
use std::borrow::Cow;

/// Appends a record as pairs; a value that is no record is the value of `value`.
pub(super) fn push(text: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut form = Serializer::new(String::new());
    if text.first() == Some(&b'{') {
        for (name, value) in json::members(text)? {
            match serde_json::from_str::<String>(value.get()) {
                Ok(bare) => form.append_pair(&name, &bare),
                Err(_) if value.get() == "null" => form.append_pair(&name, ""),
                Err(_) => form.append_pair(&name, value.get()),
            };
        }
    } else {
        let text = std::str::from_utf8(text)?;
        let bare = serde_json::from_str::<String>(text);
        form.append_pair("value", bare.as_deref().unwrap_or(text));
    }
    out.extend_from_slice(form.finish().as_bytes());
    Ok(())
}

/// A form body as JSON text.
///
/// # Errors
/// 400 when a field is given twice and is no list.
pub(super) fn to_json(schema: &TableSchema, body: &[u8]) -> Answer<Vec<u8>> {
    fields_to_json(schema, form_urlencoded::parse(body))
}

/// Named texts as one JSON object, typed by the schema. A repeated name is a list; an empty text is null where it
/// cannot be a string.
///
/// # Errors
/// 400 when a name comes twice whose attribute is no list.
pub(super) fn fields_to_json<'a>(
    schema: &TableSchema,
    fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
) -> Answer<Vec<u8>> {
    let mut grouped: Vec<(Cow<'a, str>, Vec<Cow<'a, str>>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (name, text) in fields {
        let place = *places.entry(name.clone()).or_insert(grouped.len());
        match grouped.get_mut(place) {
            Some((_, texts)) => texts.push(text),
            None => grouped.push((name, vec![text])),
        }
    }
    let mut out = Vec::new();
    json::push_all(&grouped, (b'{', b'}'), &mut out, |(name, texts), out| {
        json::push_string(name, out);
        out.push(b':');
        push_field(cell::kind_of(schema, name), name, texts, out)
    })?;
    Ok(out)
}

fn push_field(kind: &Kind, name: &str, texts: &[Cow<'_, str>], out: &mut Vec<u8>) -> Answer<()> {
    match (kind, texts) {
        (Kind::Array(_), [text]) if text.starts_with('[') => cell::push(kind, text, out),
        (Kind::Array(element), texts) => push_list(&element.kind, texts, out)?,
        (kind, [text]) => push_one(kind, text, out),
        (Kind::Any, texts) => push_list(kind, texts, out)?,
        _ => return Err(invalid(format!("The field {name} is given more than once"))),
    }
    Ok(())
}

fn push_list(kind: &Kind, texts: &[Cow<'_, str>], out: &mut Vec<u8>) -> Answer<()> {
    json::push_all(texts, (b'[', b']'), out, |text, out| {
        push_one(kind, text, out);
        Ok(())
    })
}

fn push_one(kind: &Kind, text: &str, out: &mut Vec<u8>) {
    let can_be_empty =
        matches!(kind, Kind::String | Kind::Id | Kind::Bytes | Kind::Blob | Kind::Any);
    if text.is_empty() && !can_be_empty {
        out.extend_from_slice(b"null");
    } else {
        cell::push(kind, text, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Attribute, Element};

    fn schema() -> TableSchema {
        let tags = Kind::Array(Box::new(Element { kind: Kind::String, required: false }));
        TableSchema::new(
            "data",
            "T",
            vec![
                Attribute::new("id", Kind::Id),
                Attribute::new("age", Kind::Int),
                Attribute::new("tags", tags),
            ],
        )
    }

    #[test]
    fn fields_are_typed_and_repeated_ones_are_lists() {
        let read = |body: &str| {
            to_json(&schema(), body.as_bytes()).map(|json| String::from_utf8(json).unwrap())
        };
        assert_eq!(
            read("id=a+b%21&age=5&tags=x&tags=y&other=1").unwrap(),
            r#"{"id":"a b!","age":5,"tags":["x","y"],"other":1}"#
        );
        assert_eq!(read("age=&tags=x").unwrap(), r#"{"age":null,"tags":["x"]}"#);
        assert!(read("age=1&age=2").unwrap_err().message.contains("age is given more than once"));
    }

    #[test]
    fn a_record_is_pairs() {
        let mut out = Vec::new();
        push(br#"{"a":"x y","b":[1],"c":null}"#, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a=x+y&b=%5B1%5D&c=");
    }
}
