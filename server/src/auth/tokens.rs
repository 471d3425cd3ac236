//! Bearer tokens that this server signs (JWT, RFC 7519, with RS256): which keys there are, and what a token says.
//!
//! The key pair lies in `<rootPath>/keys` and is made at the first start, unless one is configured. Tokens of further
//! public keys are accepted too, so that a key can be replaced while its tokens are about.

mod keys;

use super::users::User;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use keys::KeysError;

/// Seconds by which the clock of whoever signed a token may be ahead of ours; nobody but this server signs.
const LEEWAY_S: u64 = 5;

/// What a token is for; its `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For every request.
    Operation,
    /// For another operation token, and nothing else.
    Refresh,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Refresh => "refresh",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    username: std::borrow::Cow<'a, str>,
    super_user: bool,
    iat: u64,
    exp: u64,
    sub: std::borrow::Cow<'a, str>,
}

/// What a token says that was signed by one of the keys and whose time is not over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The user's name.
    pub username: String,
    /// Seconds since 1970 at which it was issued.
    pub issued_s: u64,
    /// How long it is good for from now on.
    pub left: Duration,
}

impl Verified {
    /// Whether the token counts for the user: one from before the password was changed does not.
    #[must_use]
    pub(crate) fn is_of(&self, user: &User) -> bool {
        user.active && user.username == self.username && user.since_s <= self.issued_s
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no token of ours, or has been changed.
    Invalid,
    /// Its time is over.
    Expired,
    /// It is one of ours, for something else.
    OtherPurpose,
}

impl Refusal {
    /// The sentence for the client.
    #[must_use]
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Invalid | Self::OtherPurpose => "invalid token",
            Self::Expired => "token expired",
        }
    }
}

/// The keys.
pub(crate) struct Tokens {
    private: KeyPair,
    /// The header of every token, as it is sent.
    header: String,
    /// Public keys by their ids; the one of the private key first.
    public: Vec<(String, DecodingKey)>,
}

impl Tokens {
    /// Takes the configured keys, or those in `folder`, where they are made if there are none.
    ///
    /// # Errors
    /// A key that cannot be read, is no RSA key of 2048 bits or more, or cannot be written.
    pub(crate) fn open(folder: &Path, settings: &harper_config::Tokens) -> Result<Self, KeysError> {
        let private = match &settings.private_key {
            Some(text) => keys::private(text)?,
            None => keys::own(folder)?,
        };
        let further = settings.public_keys.iter().map(|text| keys::public(text));
        let further: Vec<_> = further.collect::<Result<_, _>>()?;
        let own = aws_lc_rs::signature::KeyPair::public_key(&private).as_ref().to_vec();
        let mut public: Vec<(String, DecodingKey)> = Vec::new();
        for der in [own].into_iter().chain(further) {
            let id = keys::id(&der);
            if public.iter().all(|(known, _)| *known != id) {
                public.push((id, DecodingKey::from_rsa_der(&der)));
            }
        }
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": public[0].0});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        Ok(Self { private, header, public })
    }

    /// Whether the tokens that these keys accept are those that the others accept.
    #[must_use]
    pub(crate) fn accept_as(&self, others: &Self) -> bool {
        let ids = |tokens: &Self| -> BTreeSet<String> {
            tokens.public.iter().map(|(id, _)| id.clone()).collect()
        };
        ids(self) == ids(others)
    }

    /// A token for `user`, good for `life`.
    ///
    /// # Errors
    /// The private key cannot sign.
    pub(crate) fn issue(
        &self,
        user: &User,
        purpose: Purpose,
        life: Duration,
    ) -> Result<String, KeysError> {
        let iat = now_s().max(user.since_s);
        let claims = Claims {
            username: user.username.as_str().into(),
            super_user: user.role.permission.super_user,
            iat,
            exp: iat.saturating_add(life.as_secs()),
            sub: purpose.name().into(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| KeysError::Sign)?;
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.private.public_modulus_len()];
        self.private
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| KeysError::Sign)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn verify(&self, token: &str, purpose: Purpose) -> Result<Verified, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_S;
        validation.validate_aud = false;
        let candidates = self.public.iter().filter(|(id, _)| {
            // tokens from elsewhere may name no key
            header.kid.as_ref().is_none_or(|wanted| wanted == id)
        });
        let mut refusal = Refusal::Invalid;
        for (_, key) in candidates {
            match jsonwebtoken::decode::<Claims<'_>>(token, key, &validation) {
                Ok(token) if token.claims.sub == purpose.name() => {
                    let Claims { username, iat, exp, .. } = token.claims;
                    let left = Duration::from_secs(exp.saturating_sub(now_s()));
                    return Ok(Verified { username: username.into_owned(), issued_s: iat, left });
                }
                Ok(_) => refusal = Refusal::OtherPurpose,
                Err(error) if *error.kind() == ErrorKind::ExpiredSignature => {
                    refusal = Refusal::Expired;
                }
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(private_key: Option<String>, public_keys: &[String]) -> harper_config::Tokens {
        let life = Duration::from_secs(60);
        let public_keys = public_keys.to_vec();
        harper_config::Tokens { operation_life: life, refresh_life: life, private_key, public_keys }
    }

    fn open(folder: &Path) -> Tokens {
        Tokens::open(folder, &settings(None, &[])).unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_says_who_it_was_made_for_and_for_what() {
        let folder = tempfile::tempdir().unwrap();
        let (tokens, user) = (open(folder.path()), User::local());
        let token = tokens.issue(&user, Purpose::Operation, HOUR).unwrap();
        let said = tokens.verify(&token, Purpose::Operation).unwrap();
        assert!(said.username == "local" && said.is_of(&user));
        assert!(said.left > HOUR - Duration::from_secs(60) && said.left <= HOUR);
        assert_eq!(tokens.verify(&token, Purpose::Refresh), Err(Refusal::OtherPurpose));
        let later = User { since_s: said.issued_s + 1, ..User::local() };
        assert!(!said.is_of(&later), "from before the password was changed");
        assert!(!said.is_of(&User { active: false, ..User::local() }));
        let again = open(folder.path());
        assert!(again.verify(&token, Purpose::Operation).is_ok(), "the keys are kept");
    }

    #[test]
    fn what_was_changed_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = open(folder.path());
        let token = tokens.issue(&User::local(), Purpose::Operation, HOUR).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let json = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = json(
            r#"{"username":"x","super_user":true,"iat":1,"exp":9999999999,"sub":"operation"}"#,
        );
        let none = json(r#"{"alg":"none","typ":"JWT"}"#);
        let hmac = json(r#"{"alg":"HS256","typ":"JWT"}"#);
        for forged in [
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{}", parts[2]),
            format!("{hmac}.{claims}.{}", parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            "junk".to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(
                tokens.verify(&forged, Purpose::Operation),
                Err(Refusal::Invalid),
                "{forged}"
            );
        }
        let other = tempfile::tempdir().unwrap();
        let foreign = open(other.path()).issue(&User::local(), Purpose::Operation, HOUR).unwrap();
        assert_eq!(tokens.verify(&foreign, Purpose::Operation), Err(Refusal::Invalid));
    }

    #[test]
    fn a_public_key_does_not_work_as_an_hmac_secret() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = open(folder.path());
        let pem = std::fs::read(folder.path().join(".jwtPublic.key")).unwrap();
        let claims = serde_json::json!({"username":"local","super_user":true,"iat":1,"exp":9_999_999_999_u64,"sub":"operation"});
        let key = jsonwebtoken::EncodingKey::from_secret(&pem);
        let forged = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        assert_eq!(tokens.verify(&forged, Purpose::Operation), Err(Refusal::Invalid));
    }

    #[test]
    fn a_token_ends_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = open(folder.path());
        let old = User { since_s: 0, ..User::local() };
        let token = tokens.issue(&old, Purpose::Operation, Duration::ZERO).unwrap();
        assert!(tokens.verify(&token, Purpose::Operation).is_ok(), "within the leeway");
        let claims = URL_SAFE_NO_PAD
            .encode(r#"{"username":"local","super_user":true,"iat":1,"exp":2,"sub":"operation"}"#);
        let signed = format!("{}.{claims}", tokens.header);
        let mut signature = vec![0; tokens.private.public_modulus_len()];
        let random = SystemRandom::new();
        tokens.private.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(tokens.verify(&token, Purpose::Operation), Err(Refusal::Expired));
    }

    #[test]
    fn a_key_is_replaced_while_its_tokens_are_about() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let token = open(old.path()).issue(&User::local(), Purpose::Operation, HOUR).unwrap();
        open(new.path());
        let private = new.path().join(".jwtPrivate.key").display().to_string();
        let public = std::fs::read_to_string(old.path().join(".jwtPublic.key")).unwrap();
        let both = settings(Some(private.clone()), &[public]);
        let tokens = Tokens::open(Path::new("/nonexistent"), &both).unwrap();
        assert!(tokens.verify(&token, Purpose::Operation).is_ok());
        let fresh = tokens.issue(&User::local(), Purpose::Operation, HOUR).unwrap();
        assert!(open(new.path()).verify(&fresh, Purpose::Operation).is_ok());
        let alone = Tokens::open(Path::new("/nonexistent"), &settings(Some(private), &[])).unwrap();
        assert_eq!(alone.verify(&token, Purpose::Operation), Err(Refusal::Invalid));
    }
}
