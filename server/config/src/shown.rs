//! What may be shown of a value: anything but secrets.

use crate::layers::Effective;
use serde_json::Value;

/// What stands for the value of a secret key.
const SECRET: &str = "a secret";

/// What stands for PEM text (RFC 7468), in which there may be a private key.
const INLINE_PEM: &str = "inline PEM";

impl Effective {
    /// Its value as it may be printed.
    #[must_use]
    pub fn shown(&self) -> Value {
        if self.key.is_secret && !self.value.is_null() {
            return Value::from(SECRET);
        }
        shown(&self.value)
    }
}

/// A value without the PEM texts in it. A boundary without its dashes, such as a broken file has, is one too.
#[must_use]
pub(crate) fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("BEGIN ") || text.contains("PRIVATE KEY") => {
            Value::from(INLINE_PEM)
        }
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Sources, load};
    use serde_json::json;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    fn said(config: &serde_json::Value) -> String {
        let text = config.to_string();
        let loaded = load(&Sources { file: Some(("f", &text)), ..Sources::default() });
        let values = loaded.effective.iter().map(|item| item.shown().to_string());
        let problems = loaded.problems.iter().map(ToString::to_string);
        values.chain(problems).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn pem_text_is_not_shown_wherever_it_is() {
        for tls in [
            json!({"privateKey": KEY, "certificate": "/c.pem"}),
            json!([{"privateKey": KEY, "certificate": "/c.pem"}]),
            json!([{"privateKey": [KEY]}, {"certificate": "/c.pem"}]),
            json!({"privateKey": [KEY], "certificate": "/c.pem"}),
            json!([KEY, {"certificate": "/c.pem"}]),
        ] {
            let said = said(&json!({"tls": tls}));
            assert!(!said.contains("c2VjcmV0") && !said.contains("BEGIN"), "{said}");
            assert!(said.contains("inline PEM") && said.contains("/c.pem"), "{said}");
        }
        assert!(!said(&json!({"tls": KEY})).contains("c2VjcmV0"));
    }

    #[test]
    fn a_secret_key_is_not_shown() {
        let said = said(&json!({"telemetry": {"otlp": {"headers": ["api-key=c2VjcmV0"]}}}));
        assert!(said.contains("a secret") && !said.contains("c2VjcmV0"), "{said}");
    }
}
