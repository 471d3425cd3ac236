//! A value that is plain text (a CSV cell, a form field) as JSON, by the type of its attribute.

use super::json;
use harper_store::{Kind, TableSchema};
use serde_json::value::RawValue;

/// The type of an attribute; anything where it is not declared.
pub(super) fn kind_of<'a>(schema: &'a TableSchema, name: &str) -> &'a Kind {
    schema.attribute(name).map_or(&Kind::Any, |attribute| &attribute.kind)
}

/// Appends `text` as a JSON value of this type. Text that does not fit is kept as a string, which validation then names.
pub(super) fn push(kind: &Kind, text: &str, out: &mut Vec<u8>) {
    let is_literal = match kind {
        Kind::String | Kind::Id | Kind::Bytes => false,
        Kind::Int | Kind::Long | Kind::Float | Kind::BigInt | Kind::Date => is_number(text),
        Kind::Boolean => matches!(text, "true" | "false"),
        Kind::Blob => text.starts_with('{') && is_json(text),
        Kind::Any | Kind::Array(_) | Kind::Object(_) => !text.starts_with('"') && is_json(text),
    };
    if is_literal {
        out.extend_from_slice(text.as_bytes());
    } else {
        json::push_string(text, out);
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get() == text)
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && is_json(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_its_attribute_is() {
        let cases = [
            (Kind::String, "5", r#""5""#),
            (Kind::Int, "5", "5"),
            (Kind::Int, "five", r#""five""#),
            (Kind::Int, " 5", r#"" 5""#),
            (Kind::BigInt, "-36893488147419103232", "-36893488147419103232"),
            (Kind::Boolean, "true", "true"),
            (Kind::Boolean, "yes", r#""yes""#),
            (Kind::Date, "2026-01-02", r#""2026-01-02""#),
            (Kind::Date, "1460000000000", "1460000000000"),
            (Kind::Any, "007", r#""007""#),
            (Kind::Any, "{\"a\":1}", "{\"a\":1}"),
            (Kind::Any, "a \"b\"", r#""a \"b\"""#),
            (Kind::Object(Vec::new()), "{}", "{}"),
        ];
        for (kind, text, json) in cases {
            let mut out = Vec::new();
            push(&kind, text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), json, "{kind:?} {text}");
        }
    }
}
