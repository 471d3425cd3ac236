//! Which of the fields that many places ask for a request has: most have hardly any of them, and looking for one that is not
//! there costs as much as finding it.

use http::{HeaderMap, HeaderName, header};

/// A field that is looked for in every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Accept,
    AcceptEncoding,
    Authorization,
    /// Any of the conditions on a state (RFC 9110 §13.1).
    Condition,
    Connection,
    Cookie,
    Expect,
    Origin,
    Upgrade,
}

const NAMES: [(HeaderName, Field); 12] = [
    (header::ACCEPT, Field::Accept),
    (header::ACCEPT_ENCODING, Field::AcceptEncoding),
    (header::AUTHORIZATION, Field::Authorization),
    (header::CONNECTION, Field::Connection),
    (header::COOKIE, Field::Cookie),
    (header::EXPECT, Field::Expect),
    (header::IF_MATCH, Field::Condition),
    (header::IF_MODIFIED_SINCE, Field::Condition),
    (header::IF_NONE_MATCH, Field::Condition),
    (header::IF_UNMODIFIED_SINCE, Field::Condition),
    (header::ORIGIN, Field::Origin),
    (header::UPGRADE, Field::Upgrade),
];

/// Those of them that a head has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(u16);

impl Fields {
    /// Those that `headers` have, found in one walk over them.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            for (known, field) in &NAMES {
                found.0 |= u16::from(name == known) << *field as u16;
            }
        }
        found
    }

    /// Whether a field is among them.
    #[must_use]
    pub(crate) fn has(self, field: Field) -> bool {
        self.0 & 1 << field as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_head_has_the_fields_that_it_names() {
        let value = HeaderValue::from_static("a");
        for (name, field) in NAMES {
            let head = [(header::HOST, value.clone()), (name.clone(), value.clone())];
            let fields = Fields::of(&HeaderMap::from_iter(head));
            for (_, other) in NAMES {
                assert_eq!(fields.has(other), other == field, "{name} {other:?}");
            }
        }
        let both = HeaderMap::from_iter([(header::ORIGIN, value.clone()), (header::COOKIE, value)]);
        assert!(Fields::of(&both).has(Field::Origin) && Fields::of(&both).has(Field::Cookie));
        assert_eq!(Fields::of(&HeaderMap::new()), Fields::default());
    }
}
