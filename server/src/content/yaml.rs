//! YAML 1.2 (RFC 9512), the part of it that JSON has.

use super::EncodeError;
use super::body::invalid;
use super::typed::Typed;
use crate::error::Answer;

/// Appends a value as one document without a marker.
pub(super) fn push(value: &Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(serde_yaml::to_writer(out, value)?)
}

/// Appends a value as one item of a block sequence; items after one another are a list.
pub(super) fn push_item(value: &Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(serde_yaml::to_writer(out, &[value])?)
}

/// A YAML body as JSON text.
///
/// # Errors
/// 400 with what is wrong and its line.
pub(super) fn to_json(body: &[u8]) -> Answer<Vec<u8>> {
    let value: serde_json::Value = serde_yaml::from_slice(body)
        .map_err(|error| invalid(format!("The body is not valid YAML: {error}")))?;
    Ok(value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::typed;

    #[test]
    fn values_survive_the_round_trip() {
        for json in [
            r#"{"id":"1","yes":"yes","no":false,"n":-7,"f":1.5,"text":"a: b\n- c","list":[1,[2],{}]}"#,
            r#"{"a":null,"empty":"","number":"007","date":"2026-01-02"}"#,
        ] {
            let mut out = Vec::new();
            push(&typed::value(None, json.as_bytes()).unwrap(), &mut out).unwrap();
            assert_eq!(String::from_utf8(to_json(&out).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert!(to_json(text.as_bytes()).unwrap_err().message.contains("not valid YAML"));
        assert!(to_json(b"a: [1\nb: 2").unwrap_err().message.contains("line"));
    }
}
