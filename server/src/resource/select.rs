//! Which attributes of a record are returned, and in which form.

use crate::content::json;
use crate::error::{Answer, Failure};

/// What `select(…)` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    /// `select(a)`: the bare value of one attribute.
    Values(String),
    /// `select(a,b)`: objects with these attributes; absent ones are left out.
    Objects(Vec<String>),
    /// `select([a,b])`: arrays of these attributes; absent ones are null.
    Arrays(Vec<String>),
}

impl Select {
    /// What marks the selection in an entity tag.
    #[must_use]
    pub(crate) fn tag(&self) -> String {
        let text = format!("{self:?}");
        let hash = blake3::hash(text.as_bytes()).to_hex();
        format!("-s{}", &hash[..8])
    }

    /// The names of what is selected, in its order.
    #[must_use]
    pub(crate) fn columns(&self) -> Vec<String> {
        match self {
            Self::Values(name) => vec![name.clone()],
            Self::Objects(names) | Self::Arrays(names) => names.clone(),
        }
    }
}

/// The JSON text of a stored record, or of the selected part of it, made in `scratch`; and whether it is a record,
/// whose members have the types of the schema.
///
/// # Errors
/// 500 when the stored text is damaged.
pub(crate) fn text<'a>(
    select: Option<&Select>,
    record: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Answer<(bool, &'a [u8])> {
    let Some(select) = select else { return Ok((true, record)) };
    scratch.clear();
    push(select, record, scratch)?;
    Ok((matches!(select, Select::Objects(_)), scratch))
}

fn push(select: &Select, record: &[u8], out: &mut Vec<u8>) -> Answer<()> {
    let members = json::members(record)
        .map_err(|error| Failure::internal("a stored record cannot be read", &error))?;
    let find = |name: &str| {
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get())
    };
    match select {
        Select::Values(name) => out.extend_from_slice(find(name).unwrap_or("null").as_bytes()),
        Select::Objects(names) => {
            let found = names.iter().filter_map(|name| find(name).map(|value| (name, value)));
            push_separated(b"{", b"}", found, out, |(name, value), out| {
                json::push_string(name, out);
                out.push(b':');
                out.extend_from_slice(value.as_bytes());
            });
        }
        Select::Arrays(names) => {
            let values = names.iter().map(|name| find(name).unwrap_or("null"));
            push_separated(b"[", b"]", values, out, |value, out| {
                out.extend_from_slice(value.as_bytes());
            });
        }
    }
    Ok(())
}

fn push_separated<T>(
    open: &[u8],
    close: &[u8],
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut push: impl FnMut(T, &mut Vec<u8>),
) {
    out.extend_from_slice(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(item, out);
    }
    out.extend_from_slice(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(select: &Select) -> String {
        let mut out = Vec::new();
        push(select, br#"{"id":"1","name":"Rex","age":3}"#, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_form_returns_what_it_promises() {
        let names = || vec!["age".to_owned(), "nosuch".to_owned(), "name".to_owned()];
        assert_eq!(selected(&Select::Values("name".into())), r#""Rex""#);
        assert_eq!(selected(&Select::Values("nosuch".into())), "null");
        assert_eq!(selected(&Select::Objects(names())), r#"{"age":3,"name":"Rex"}"#);
        assert_eq!(selected(&Select::Arrays(names())), r#"[3,null,"Rex"]"#);
    }

    #[test]
    fn different_selections_have_different_tags() {
        let tags = [
            Select::Values("a".into()).tag(),
            Select::Objects(vec!["a".into()]).tag(),
            Select::Arrays(vec!["a".into()]).tag(),
            Select::Objects(vec!["b".into()]).tag(),
        ];
        let mut unique = tags.to_vec();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), tags.len());
    }
}
