//! Logins, roles, tokens, cross-origin requests.

use crate::{Row, differs, same};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    differs(
        "no credentials",
        "401 `Must login`, `WWW-Authenticate: Basic`",
        "the same, as problem details",
        |w| {
            let refused = w.anyone().get("/Dog/1").expect(401);
            assert!(refused.header("www-authenticate").starts_with("Basic"));
            assert_eq!(refused.error(), "Must login");
        },
    ),
    same("wrong user or password", |w| {
        for (user, password) in [("admin", "wrong"), ("nobody", "x")] {
            let refused = w.anyone().login(user, password).get("/Dog/1").expect(401);
            assert_eq!(refused.error(), "Login failed");
        }
    }),
    same("Basic of `:`", |w| drop(w.anyone().login("", "").get("/Dog/1").expect(401))),
    differs(
        "an unknown scheme; `bAsIc`",
        "anonymous",
        "401; schemes are case-insensitive (RFC 9110 §11.1)",
        |w| {
            let ask = |value: &str| {
                w.anyone().request("GET", "/Dog/").header("authorization", value).send()
            };
            ask("Nope abc").expect(401);
            let basic = crate::harness::client::basic(&format!(
                "{}:{}",
                crate::harness::server::USERNAME,
                crate::harness::server::PASSWORD
            ));
            ask(&basic.replace("Basic", "bAsIc")).expect(200);
        },
    ),
    same("Basic that cannot be decoded", |w| {
        let ask = w.anyone().request("GET", "/Dog/").header("authorization", "Basic %%%").send();
        assert_eq!(ask.expect(401).error(), "Invalid character");
    }),
    same("a Bearer token that is none", |w| {
        let ask = w.anyone().request("GET", "/Dog/").header("authorization", "Bearer junk").send();
        assert_eq!(ask.expect(401).error(), "invalid token");
    }),
];
