//! Tokens of other issuers (OpenID Connect): which issuers are believed, and what one of their tokens says.
//!
//! The public keys of an issuer are fetched by a thread of their own, when the server starts, now and then, and when a
//! token names a key that is not known; a request never waits for them. When an issuer cannot be reached its last keys
//! stay in use.

mod fetch;

use super::tokens::Refusal;
use super::users::{User, Users};
use arc_swap::ArcSwap;
use harper_config::{Oidc, OidcIssuer};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, oneshot};

/// Keys of one issuer that are looked at.
const KEYS_MAX: usize = 64;
/// Keys that one token is tried with: where keys have no ids, one and the one that takes its place. A worker does no
/// more than this for somebody it does not know.
const TRIES_MAX: usize = 2;

/// A key of an issuer.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// An issuer and its keys as they are known now.
struct Issuer {
    settings: OidcIssuer,
    keys: ArcSwap<Vec<Key>>,
    /// Grows when the keys change.
    generation: Arc<AtomicU64>,
    /// A token has named a key that is not known.
    wanted: Notify,
}

/// The issuers that are believed.
pub(crate) struct Issuers {
    settings: Oidc,
    all: Arc<[Issuer]>,
    /// The thread that fetches their keys ends when this is dropped.
    _fetching: Option<oneshot::Sender<()>>,
}

/// Whom a token stands for, and how long it is good for from now on.
pub(crate) struct Outsider {
    /// The user.
    pub user: User,
    /// The time that is left.
    pub left: Duration,
}

/// The claims that are always looked at (OpenID Connect Core §2); `iss`, `aud` and the times are validated.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct From {
    iss: Option<String>,
}

impl Issuers {
    /// The configured issuers; a thread keeps their keys from now on, and counts each change of them in `generation`.
    /// Those who are among the issuers of `before` begin with the keys that they had there.
    ///
    /// # Errors
    /// The system's refusal of a thread, or certificates of authorities that cannot be read.
    pub(crate) fn start(
        settings: &Oidc,
        before: Option<&Self>,
        generation: &Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let keys_of = |settings: &OidcIssuer| {
            let known = before?.all.iter().find(|known| known.settings == *settings)?;
            Some(known.keys.load_full())
        };
        let all = settings.issuers.iter().map(|settings| Issuer {
            settings: settings.clone(),
            keys: ArcSwap::new(keys_of(settings).unwrap_or_default()),
            generation: Arc::clone(generation),
            wanted: Notify::new(),
        });
        let all: Arc<[Issuer]> = all.collect();
        let fetching = match all.is_empty() {
            true => None,
            false => Some(fetch::start(&all, settings.refresh)?),
        };
        Ok(Self { settings: settings.clone(), all, _fetching: fetching })
    }

    /// Whether these are the configured ones.
    #[must_use]
    pub(crate) fn are(&self, settings: &Oidc) -> bool {
        self.settings == *settings
    }

    /// The issuer that a token says it is from, where that is one of these. Nothing is believed by this.
    fn named_in(&self, token: &str) -> Option<&Issuer> {
        if self.all.is_empty() {
            return None;
        }
        let from = jsonwebtoken::dangerous::insecure_decode_claims::<From>(token).ok()?.iss?;
        self.all.iter().find(|issuer| issuer.settings.issuer == from)
    }

    /// Whom a token stands for; none when it is of no issuer of these.
    #[must_use]
    pub(crate) fn verify(
        &self,
        token: &str,
        users: &Users,
        leeway: Duration,
    ) -> Option<Result<Outsider, Refusal>> {
        let issuer = self.named_in(token)?;
        let claims = issuer.claims(token, leeway);
        Some(claims.and_then(|claims| issuer.outsider(&claims, users)))
    }
}

impl Issuer {
    fn set_keys(&self, keys: Vec<Key>) {
        self.keys.store(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn claims(&self, token: &str, leeway: Duration) -> Result<Claims, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        let keys = self.keys.load();
        let mut candidates = keys.iter().filter(|key| key.is_for(&header)).peekable();
        if candidates.peek().is_none() {
            self.wanted.notify_one();
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.settings.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut refusal = Refusal::Invalid;
        for candidate in candidates.take(TRIES_MAX) {
            match jsonwebtoken::decode::<Claims>(token, &candidate.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error)
                    if *error.kind() == jsonwebtoken::errors::ErrorKind::ExpiredSignature =>
                {
                    refusal = Refusal::Expired;
                }
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// The user of that name, or, where a claim names roles, whoever it is with the first of these roles that exists.
    fn outsider(&self, claims: &Claims, users: &Users) -> Result<Outsider, Refusal> {
        let name = claims.others.get(&self.settings.username_claim).and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).ok_or(Refusal::Invalid)?;
        let user = match &self.settings.role_claim {
            None => {
                let user = users.get(name).filter(|user| user.active);
                User::clone(&*user.ok_or(Refusal::Invalid)?)
            }
            Some(claim) => {
                let named = roles(claims.others.get(claim));
                User::outside(name, named.into_iter().find_map(|role| users.role(role)))
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Outsider { user, left: Duration::from_secs(claims.exp).saturating_sub(now) })
    }
}

/// The names in a claim: a text, texts between blanks, or a list of texts.
fn roles(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Key {
    /// The key of a JWK (RFC 7517), if it is one to verify signatures with that are taken: RS256, ES256, EdDSA. What it
    /// is good for follows from the key, never from a token.
    fn new(jwk: &Jwk) -> Option<Self> {
        let (algorithm, name) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let is_usable = common.key_algorithm.is_none_or(|named| named == name)
            && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_usable)?;
        Some(Self { id: common.key_id.clone(), algorithm, key })
    }

    fn is_for(&self, header: &Header) -> bool {
        let is_named = match (&self.id, &header.kid) {
            (Some(id), Some(wanted)) => id == wanted,
            _ => true,
        };
        is_named && self.algorithm == header.alg
    }
}

/// The usable keys of a set; keys of other kinds are passed over (RFC 7517 §5).
fn keys(set: &JwkSet) -> Vec<Key> {
    set.keys.iter().filter_map(Key::new).take(KEYS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_keys_that_verify_signatures_are_taken() {
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let with = |name: &str, value: &str| {
            let mut key = rsa.clone();
            key[name] = json!(value);
            key
        };
        let set = json!({"keys": [
            rsa, with("use", "enc"), with("alg", "RS512"), with("alg", "RS256"), with("kty", "XX"),
            {"kty": "oct", "k": "AAAA"},
            {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        ]});
        let set: JwkSet = serde_json::from_value(set).unwrap();
        let algorithms: Vec<_> = keys(&set).iter().map(|key| key.algorithm).collect();
        use Algorithm::{ES256, EdDSA, RS256};
        assert_eq!(algorithms, [RS256, RS256, ES256, EdDSA]);
    }

    #[test]
    fn a_token_that_names_no_key_is_tried_with_few() {
        let settings = harper_config::from_text(
            "authentication: {oidc: [{issuer: 'http://127.0.0.1:1', audience: a}]}",
        );
        let settings = settings.0.unwrap().authentication.oidc;
        let issuer = Issuer {
            settings: settings.issuers[0].clone(),
            keys: ArcSwap::default(),
            generation: Arc::default(),
            wanted: Notify::new(),
        };
        let secret = |number: u8| [number; 32];
        let claims = json!({"iss": "http://127.0.0.1:1", "aud": "a", "exp": 99_999_999_999_u64});
        let signed_by = |number: u8| {
            let key = jsonwebtoken::EncodingKey::from_secret(&secret(number));
            jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
        };
        let key = |number: u8| {
            let key = DecodingKey::from_secret(&secret(number));
            Key { id: None, algorithm: Algorithm::HS256, key }
        };
        issuer.set_keys((0..5).map(key).collect());
        let is_good = |number| issuer.claims(&signed_by(number), Duration::ZERO).is_ok();
        assert_eq!([0, 1, 2, 3, 4].map(is_good), [true, true, false, false, false]);
        assert_eq!(issuer.generation.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_claim_names_one_role_or_several() {
        assert_eq!(roles(Some(&json!("a b"))), ["a", "b"]);
        assert_eq!(roles(Some(&json!(["a", 1, "b c"]))), ["a", "b c"]);
        assert!(roles(Some(&json!(1))).is_empty() && roles(None).is_empty());
    }
}
