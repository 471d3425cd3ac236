//! Bearer tokens of other issuers.

use super::operations::{call, start_with};
use crate::harness::{Client, Server, eventually};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey }\n\
    type Cat @table @export { id: ID @primaryKey }";

/// An issuer on this machine: what it publishes can be changed while it runs.
pub(crate) struct Issuer {
    pub(crate) url: String,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::<Mutex<Vec<Value>>>::default();
        let (served, base) = (Arc::clone(&keys), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let line = lines.next().unwrap_or(Ok(String::new())).unwrap_or_default();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let body = match line.split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        json!({"issuer": base, "jwks_uri": format!("{base}/keys")})
                    }
                    Some("/keys") => json!({"keys": *served.lock().unwrap()}),
                    _ => json!({}),
                };
                let body = body.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                // the server may have had enough
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        Self { url, keys }
    }

    pub(crate) fn publish(&self, keys: &[&Signer]) {
        *self.keys.lock().unwrap() = keys.iter().map(|key| key.jwk.clone()).collect();
    }

    fn setting(&self, more: &Value) -> String {
        let mut entry = json!({"issuer": self.url, "audience": ["harper", "other"]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("authentication.oidc={}", json!([entry]))
    }

    pub(crate) fn claims(&self, more: &Value) -> Value {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut claims = json!({"iss": self.url, "aud": "harper", "sub": "ann", "exp": now + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key with which tokens are signed.
pub(crate) struct Signer {
    header: Value,
    jwk: Value,
    sign: Sign,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn rsa(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let jwk = json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
            "n": text(public.modulus().big_endian_without_leading_zero()),
            "e": text(public.exponent().big_endian_without_leading_zero())});
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Self { header: json!({"alg": "RS256", "kid": id}), jwk, sign: Box::new(sign) }
    }

    pub(crate) fn ecdsa(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let (x, y) = (text(&public[1..33]), text(&public[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y});
        let sign = move |message: &[u8]| {
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        };
        Self { header: json!({"alg": "ES256", "kid": id}), jwk, sign: Box::new(sign) }
    }

    fn ed25519(id: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = text(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x});
        let sign = move |message: &[u8]| pair.sign(message).as_ref().to_vec();
        Self { header: json!({"alg": "EdDSA", "kid": id}), jwk, sign: Box::new(sign) }
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header, claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        format!("{message}.{}", text((self.sign)(message.as_bytes())))
    }
}

fn ask(server: &Server, path: &str, token: &str) -> u16 {
    let client = server.client();
    client.request("GET", path).header("authorization", &format!("Bearer {token}")).send().status
}

fn add_reader(admin: &Client) {
    let permission = json!({"data": {"tables": {"Dog": {"read": true}}}});
    call(admin, "add_role", json!({"role": "reader", "permission": permission})).expect(200);
}

#[test]
fn tokens_of_an_issuer_stand_for_our_users() {
    let (rsa, ecdsa, ed25519) = (Signer::rsa("a"), Signer::ecdsa("b"), Signer::ed25519("c"));
    let issuer = Issuer::start();
    issuer.publish(&[&rsa, &ecdsa, &ed25519]);
    let (server, admin) = start_with(SCHEMA, &[&issuer.setting(&json!({}))]);
    add_reader(&admin);
    let plain = rsa.token(&issuer.claims(&json!({})));
    eventually("the keys", || {
        assert_eq!(ask(&server, "/Dog/", &plain), 401, "no such user yet");
        (server.metric("harper_credentials_refused_total") >= 2.0).then_some(())
    });
    let ann = json!({"username": "ann", "password": "x", "role": "reader"});
    call(&admin, "add_user", ann).expect(200);
    eventually("the user", || (ask(&server, "/Dog/", &plain) == 200).then_some(()));
    assert_eq!(ask(&server, "/Cat/", &plain), 403);
    for signer in [&rsa, &ecdsa, &ed25519] {
        let token = |more: Value| signer.token(&issuer.claims(&more));
        assert_eq!(ask(&server, "/Dog/", &token(json!({"aud": ["x", "other"]}))), 200);
        for wrong in [
            json!({"aud": "somebody else"}),
            json!({"aud": null}),
            json!({"exp": 1000}),
            json!({"exp": null}),
            json!({"nbf": 99_999_999_999_u64}),
            json!({"sub": "nobody"}),
            json!({"sub": null}),
            json!({"iss": "http://127.0.0.1:1"}),
        ] {
            assert_eq!(ask(&server, "/Dog/", &token(wrong.clone())), 401, "{wrong}");
        }
    }
    // what a key is good for is not for the token to say
    let claims = issuer.claims(&json!({}));
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "a"}),
        json!({"alg": "RS512", "kid": "a"}),
        json!({"alg": "ES256", "kid": "a"}),
        json!({"alg": "RS256", "kid": "b"}),
    ] {
        assert_eq!(ask(&server, "/Dog/", &rsa.token_with(&header, &claims)), 401, "{header}");
    }
    let stranger = Signer::rsa("a");
    assert_eq!(ask(&server, "/Dog/", &stranger.token(&claims)), 401);
    // the tokens of the server itself go on
    let own = call(&admin, "create_authentication_tokens", json!({})).expect(200).json();
    assert_eq!(ask(&server, "/Dog/", own["operation_token"].as_str().unwrap()), 200);
    call(&admin, "alter_user", json!({"username": "ann", "active": false})).expect(200);
    assert_eq!(ask(&server, "/Dog/", &plain), 401);
}

#[test]
fn a_claim_can_name_the_role_and_a_new_key_is_fetched_when_it_is_used() {
    let (old, new) = (Signer::ecdsa("old"), Signer::ecdsa("new"));
    let issuer = Issuer::start();
    issuer.publish(&[&old]);
    let more = json!({"usernameClaim": "email", "roleClaim": "groups"});
    let (server, admin) = start_with(SCHEMA, &[&issuer.setting(&more)]);
    add_reader(&admin);
    let token = |signer: &Signer, groups: Value| {
        signer.token(&issuer.claims(&json!({"email": "admin", "groups": groups})))
    };
    let reader = token(&old, json!(["staff", "reader"]));
    eventually("the keys", || (ask(&server, "/Dog/", &reader) == 200).then_some(()));
    assert_eq!(ask(&server, "/Cat/", &reader), 403);
    assert_eq!(ask(&server, "/Dog/", &token(&old, json!("staff"))), 403, "no role of ours");
    assert_eq!(ask(&server, "/Dog/", &token(&old, Value::Null)), 403);
    // a name that is also one of ours opens nothing of ours
    let anyone = server.operations();
    let call_as = |name: &str| {
        let body = json!({ "operation": name }).to_string();
        let ask = anyone.request("POST", "/").json(&body);
        ask.header("authorization", &format!("Bearer {reader}")).send()
    };
    call_as("create_authentication_tokens").expect(401);
    call_as("list_users").expect(403);
    assert_eq!(call_as("user_info").expect(200).json()["role"]["role"], "reader");
    // a key that is not known is asked for, and one that is gone is not believed
    let fresh = token(&new, json!("reader"));
    assert_eq!(ask(&server, "/Dog/", &fresh), 401);
    issuer.publish(&[&new]);
    eventually("the new key", || (ask(&server, "/Dog/", &fresh) == 200).then_some(()));
    assert_eq!(ask(&server, "/Dog/", &token(&old, json!(["reader", "more"]))), 401);
}

#[test]
fn an_issuer_that_publishes_no_keys_any_more_is_believed_by_those_it_had() {
    let (known, stranger) = (Signer::ecdsa("known"), Signer::ecdsa("stranger"));
    let issuer = Issuer::start();
    issuer.publish(&[&known]);
    let (server, admin) = start_with(SCHEMA, &[&issuer.setting(&json!({"roleClaim": "role"}))]);
    add_reader(&admin);
    let token = |signer: &Signer, name: &str| {
        signer.token(&issuer.claims(&json!({"sub": name, "role": "reader"})))
    };
    let first = token(&known, "ann");
    eventually("the keys", || (ask(&server, "/Dog/", &first) == 200).then_some(()));
    issuer.publish(&[]);
    // a key that is not known has the keys fetched at once
    let unknown = token(&stranger, "ann");
    eventually("the empty set", || {
        assert_eq!(ask(&server, "/Dog/", &unknown), 401);
        server.log().contains("no key among them").then_some(())
    });
    assert_eq!(ask(&server, "/Dog/", &token(&known, "bob")), 200);
}

#[test]
fn an_issuer_that_is_away_holds_up_nothing() {
    let gone = json!([{"issuer": "http://127.0.0.1:1", "audience": "a"}]);
    let (server, admin) = start_with(SCHEMA, &[&format!("authentication.oidc={gone}")]);
    let signer = Signer::ecdsa("x");
    let token =
        signer.token(&json!({"iss": "http://127.0.0.1:1", "aud": "a", "exp": 99_999_999_999_u64}));
    assert_eq!(ask(&server, "/Dog/", &token), 401);
    call(&admin, "user_info", json!({})).expect(200);
    server.line("cannot be fetched");
}

#[test]
fn an_issuer_that_cannot_be_meant_is_refused() {
    let home = crate::harness::Home::with_schema(SCHEMA);
    for (list, part) in [
        (json!([{"issuer": "http://id.example", "audience": "a"}]), "https alone"),
        (json!([{"issuer": "https://id.example"}]), "audience"),
        (
            json!([{"issuer": "https://id.example", "audience": "a", "algorithms": ["none"]}]),
            "unknown member",
        ),
    ] {
        let failed = super::guarded(&home).set(&format!("authentication.oidc={list}")).fail();
        let message = crate::harness::server::text(&failed.stderr);
        assert!(message.contains("authentication.oidc") && message.contains(part), "{message}");
    }
}
