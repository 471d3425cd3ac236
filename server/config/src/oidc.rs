//! Issuers of tokens: what a list of them may hold.

use serde_json::{Map, Value, json};

/// An issuer whose tokens are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct OidcIssuer {
    /// Its identifier, the `iss` of its tokens.
    pub issuer: String,
    /// The values of `aud` that are meant for this server.
    pub audience: Vec<String>,
    /// Where its keys are; none to ask the issuer.
    pub jwks_uri: Option<String>,
    /// The claim that holds the user's name.
    pub username_claim: String,
    /// The claim that names roles; none to take the role of the user of that name.
    pub role_claim: Option<String>,
    /// File of the authorities that certify its server; none for those that the system trusts.
    pub certificate_authority: Option<String>,
}

const MEMBERS: [&str; 6] =
    ["issuer", "audience", "jwksUri", "usernameClaim", "roleClaim", "certificateAuthority"];

/// A list of issuers in its one form: every audience a list, every default written out.
pub(crate) fn normalize(written: &Value) -> Result<Value, String> {
    let Value::Array(items) = written else {
        return Err("expected a list of issuers".to_owned());
    };
    items.iter().map(issuer).collect()
}

fn issuer(written: &Value) -> Result<Value, String> {
    let Value::Object(members) = written else {
        return Err("expected an issuer with its `issuer` and `audience`".to_owned());
    };
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("unknown member `{unknown}`; there are {}", MEMBERS.join(", ")));
    }
    let issuer = text(members, "issuer")?.ok_or("an issuer needs its `issuer`")?;
    check_issuer_url(issuer)?;
    let jwks_uri = text(members, "jwksUri")?;
    jwks_uri.map_or(Ok(()), check_issuer_url)?;
    let audience = match members.get("audience") {
        Some(Value::String(one)) if !one.is_empty() => vec![one.as_str()],
        Some(Value::Array(items)) if !items.is_empty() => {
            let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            texts.ok_or("`audience` must be a text or a list of texts")?
        }
        _ => return Err(format!("issuer {issuer} needs an `audience`")),
    };
    Ok(json!({
        "issuer": issuer,
        "audience": audience,
        "jwksUri": jwks_uri,
        "usernameClaim": text(members, "usernameClaim")?.unwrap_or("sub"),
        "roleClaim": text(members, "roleClaim")?,
        "certificateAuthority": text(members, "certificateAuthority")?,
    }))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

/// Whether keys may be fetched from this address: over HTTPS, or from this machine.
///
/// # Errors
/// What is wrong with it.
pub fn check_issuer_url(url: &str) -> Result<(), String> {
    let rest = match url.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", rest)) => {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            let is_local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
                host.strip_prefix(local)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            });
            if !is_local {
                return Err(format!("`{url}`: keys are fetched over https alone"));
            }
            rest
        }
        _ => return Err(format!("`{url}` is not a URL that begins with https://")),
    };
    if rest.is_empty() || rest.starts_with('/') || rest.contains(|c: char| c.is_whitespace()) {
        return Err(format!("`{url}` is not a URL"));
    }
    Ok(())
}

/// The issuers of a list in its one form.
pub(crate) fn issuers(value: &Value) -> Vec<OidcIssuer> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let items = value.as_array().into_iter().flatten();
    let optional = |item: &Value, name: &str| item[name].as_str().map(str::to_owned);
    items
        .map(|item| OidcIssuer {
            issuer: optional(item, "issuer").unwrap_or_default(),
            audience: texts(&item["audience"]),
            jwks_uri: optional(item, "jwksUri"),
            username_claim: optional(item, "usernameClaim").unwrap_or_default(),
            role_claim: optional(item, "roleClaim"),
            certificate_authority: optional(item, "certificateAuthority"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_has_defaults() {
        let written = json!([{"issuer": "https://id.example", "audience": "harper"}]);
        let read = issuers(&normalize(&written).unwrap());
        assert_eq!(read[0].audience, ["harper"]);
        assert_eq!((read[0].username_claim.as_str(), &read[0].role_claim), ("sub", &None));
        assert_eq!(normalize(&normalize(&written).unwrap()), normalize(&written));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (written, part) in [
            (json!({}), "expected a list"),
            (json!(["x"]), "expected an issuer"),
            (json!([{"audience": "a"}]), "needs its `issuer`"),
            (json!([{"issuer": "https://x"}]), "needs an `audience`"),
            (json!([{"issuer": "https://x", "audience": [1]}]), "list of texts"),
            (json!([{"issuer": "http://id.example", "audience": "a"}]), "https alone"),
            (json!([{"issuer": "http://localhost.evil.example", "audience": "a"}]), "https alone"),
            (json!([{"issuer": "id.example", "audience": "a"}]), "not a URL"),
            (json!([{"issuer": "https://", "audience": "a"}]), "not a URL"),
            (
                json!([{"issuer": "https://x", "audience": "a", "alg": "none"}]),
                "unknown member `alg`",
            ),
            (
                json!([{"issuer": "https://x", "audience": "a", "jwksUri": "file:///x"}]),
                "not a URL",
            ),
        ] {
            let error = normalize(&written).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
        }
        assert!(check_issuer_url("http://127.0.0.1:99/x").is_ok());
        assert!(check_issuer_url("http://[::1]/").is_ok());
    }
}
