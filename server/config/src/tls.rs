//! The certificates of the TLS listeners.

use crate::ciphers::{self, CipherSuite};
use crate::problem::Severity;
use std::fmt;
use std::path::PathBuf;

/// PEM text, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file.
    Path(PathBuf),
    /// The text itself, as written in the configuration.
    Inline(String),
}

impl Pem {
    /// Reads a configured text: one that holds a PEM boundary is the material itself (RFC 7468).
    pub(crate) fn from_text(text: &str) -> Self {
        match text.contains("-----BEGIN ") {
            true => Self::Inline(text.to_owned()),
            false => Self::Path(PathBuf::from(text)),
        }
    }
}

impl fmt::Debug for Pem {
    /// Inline text may be a private key, and is never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Inline(_) => f.write_str("inline PEM"),
        }
    }
}

/// The lowest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// One certificate and for whom it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsEntry {
    /// Where it is configured: `tls`, or `tls[1]` in a list.
    pub key: String,
    /// The chain, the server's own certificate first; none means `<rootPath>/keys/certificate.pem`.
    pub certificate: Option<Pem>,
    /// Its key; none means `<rootPath>/keys/privateKey.pem`.
    pub private_key: Option<Pem>,
    /// Authorities that clients' certificates may be from; none means `<rootPath>/keys/ca.pem`.
    pub certificate_authority: Option<Pem>,
    /// Names that clients ask for (SNI, RFC 6066 §3), `*.a.example` among them; when empty, the names of the certificate.
    pub hosts: Vec<String>,
    /// Cipher suites in OpenSSL's words; none means all.
    pub ciphers: Option<String>,
    /// The lowest version.
    pub min_version: TlsVersion,
    /// Listeners that it is for; when empty, all.
    pub uses: Vec<String>,
}

impl TlsEntry {
    /// The suites that may be negotiated; none means all that the server has.
    #[must_use]
    pub fn cipher_suites(&self) -> Option<Vec<CipherSuite>> {
        self.ciphers.as_deref().map(|list| ciphers::parse(list).suites)
    }
}

/// What is wrong with an entry, beyond the types of its values.
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The member, such as `ciphers`.
    pub(crate) member: &'static str,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Listeners that a certificate can be for.
const USES: [&str; 4] = ["https", "wss", "operations", "mqtts"];

/// Looks through an entry.
pub(crate) fn findings(entry: &TlsEntry) -> Vec<Finding> {
    let mut found = Vec::new();
    for host in entry.hosts.iter().filter(|host| !is_host(host)) {
        found.push(Finding {
            severity: Severity::Error,
            member: "host",
            message: format!("{host} is not a host name"),
            hint: "a name such as api.example.com, or *.example.com",
        });
    }
    for name in entry.uses.iter().filter(|name| !USES.contains(&name.as_str())) {
        found.push(Finding {
            severity: Severity::Warning,
            member: "uses",
            message: format!("there is no listener {name}"),
            hint: "known are https, wss, operations and mqtts",
        });
    }
    if let Some(list) = &entry.ciphers {
        found.extend(ciphers_findings(list, entry.min_version));
    }
    found
}

fn ciphers_findings(list: &str, min_version: TlsVersion) -> Vec<Finding> {
    let ciphers::Parsed { suites, unknown } = ciphers::parse(list);
    let mut found: Vec<_> = unknown
        .into_iter()
        .map(|name| Finding {
            severity: Severity::Warning,
            member: "ciphers",
            message: format!("{name} is unknown or not available, ignored"),
            hint: "there are the suites of TLS 1.3, and those of TLS 1.2 with ECDHE and AES-GCM or CHACHA20-POLY1305",
        })
        .collect();
    if !suites.iter().any(|suite| suite.is_tls13() || min_version == TlsVersion::V1_2) {
        found.push(Finding {
            severity: Severity::Error,
            member: "ciphers",
            message: format!("no cipher suite is left of {list}"),
            hint: "leave the key out to offer all safe suites",
        });
    }
    found
}

/// A DNS name, or one with `*` for its first label.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.trim_end_matches('.').split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> crate::Config {
        let (config, problems) = crate::from_text(yaml);
        config.unwrap_or_else(|| panic!("{problems:?}"))
    }

    fn problems(yaml: &str) -> Vec<String> {
        crate::from_text(yaml).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_certificate_as_a_mapping() {
        let config = config(
            "tls: {certificate: /c.pem, privateKey: /k.pem, hostname: a.example, minVersion: 1.3}",
        );
        let [entry] = &config.tls[..] else { panic!("{:?}", config.tls) };
        assert_eq!(entry.certificate, Some(Pem::Path("/c.pem".into())));
        assert_eq!(entry.hosts, ["a.example"]);
        assert_eq!(entry.min_version, TlsVersion::V1_3);
        assert_eq!(entry.key, "tls");
    }

    #[test]
    fn a_list_of_certificates_takes_what_it_does_not_say_from_the_section() {
        let sources = crate::Sources {
            default_json: Some(r#"{"tls": {"minVersion": "1.3", "certificate": "/d.pem"}}"#),
            file: Some((
                "f",
                "tls:\n- certificate: /a.pem\n  hosts: [a.example, '*.a.example']\n- minVersion: TLSv1.2\n",
            )),
            ..crate::Sources::default()
        };
        let config = crate::load(&sources).config.unwrap();
        let [first, second] = &config.tls[..] else { panic!("{:?}", config.tls) };
        assert_eq!(first.hosts, ["a.example", "*.a.example"]);
        assert_eq!(first.min_version, TlsVersion::V1_3);
        assert_eq!((&second.key[..], second.min_version), ("tls[1]", TlsVersion::V1_2));
        assert_eq!(second.certificate, None, "a certificate is never inherited");
    }

    #[test]
    fn a_mapping_takes_the_place_of_a_list() {
        let sources = crate::Sources {
            default_json: Some(r#"{"tls": [{"certificate": "/a.pem"}, {}]}"#),
            file: Some(("f", "tls: {certificate: /b.pem}")),
            ..crate::Sources::default()
        };
        let config = crate::load(&sources).config.unwrap();
        assert_eq!(config.tls.len(), 1);
        assert_eq!(config.tls[0].certificate, Some(Pem::Path("/b.pem".into())));
    }

    #[test]
    fn every_mistake_is_named() {
        let yaml = "tls:\n- ciphers: RC4-SHA\n  hots: x\n- host: 'a b'\n  uses: [https, ftp]\n- minVersion: 1.1\n- 7\n";
        assert_eq!(
            problems(yaml),
            [
                "error: harperdb-config.yaml:1:1: tls[2].minVersion: expected one of 1.2, 1.3, TLSv1.2, TLSv1.3, found 1.1",
                "error: harperdb-config.yaml:1:1: tls[3]: expected a mapping of keys, found 7",
                "error: harperdb-config.yaml:1:1: tls[0].ciphers: no cipher suite is left of RC4-SHA (leave the key out to offer all safe suites)",
                "error: harperdb-config.yaml:1:1: tls[1].host: a b is not a host name (a name such as api.example.com, or *.example.com)",
                "warning: harperdb-config.yaml:1:1: tls[0].hots: unknown key, ignored (did you mean tls.host?)",
                "warning: harperdb-config.yaml:1:1: tls[0].ciphers: RC4-SHA is unknown or not available, ignored (there are the suites of TLS 1.3, and those of TLS 1.2 with ECDHE and AES-GCM or CHACHA20-POLY1305)",
                "warning: harperdb-config.yaml:1:1: tls[1].uses: there is no listener ftp (known are https, wss, operations and mqtts)",
            ]
        );
        let in_section = problems("tls:\n  ciphers: RC4-SHA\n");
        assert!(
            in_section[0].starts_with("error: harperdb-config.yaml:2:3: tls.ciphers: no cipher"),
            "{in_section:?}"
        );
    }

    #[test]
    fn inline_material_is_never_shown() {
        let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let config = config(&serde_json::json!({"tls": {"privateKey": text}}).to_string());
        assert_eq!(config.tls[0].private_key, Some(Pem::Inline(text.into())));
        assert!(!format!("{config:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn one_port_for_both_is_the_secure_one() {
        assert_eq!(config("http: {port: 9926, securePort: 9926}").http.port, None);
        assert!(config("http: {port: 9926, securePort: 9927}").http.port.is_some());
        // 0 lets the system choose, twice
        assert!(config("http: {port: 0, securePort: 0}").http.port.is_some());
    }

    #[test]
    fn a_listener_has_the_certificates_that_are_for_it() {
        let keys = |yaml: &str, listener| {
            let config = config(yaml);
            let entries = config.certificates(listener)?;
            Some(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>().join(" "))
        };
        let tls = "tls: [{uses: [operations]}, {uses: [wss, mqtts]}, {}]";
        let ports = |secure: u16, operations: u16| {
            format!(
                "{{http: {{securePort: {secure}}}, operationsApi: {{network: {{securePort: {operations}}}}}, {tls}}}"
            )
        };
        use crate::TlsListener::{Application, Mqtt, Operations};
        let mqtt = format!("{{mqtt: {{network: {{securePort: 8883}}}}, {tls}}}");
        assert_eq!(keys(&mqtt, Mqtt).unwrap(), "tls[1] tls[2]");
        let both = ports(1, 2);
        assert_eq!(keys(&both, Application).unwrap(), "tls[1] tls[2]");
        assert_eq!(keys(&both, Operations).unwrap(), "tls[0] tls[2]");
        let shared = ports(1, 1);
        assert_eq!(keys(&shared, Application).unwrap(), "tls[0] tls[1] tls[2]");
        assert_eq!(keys(&shared, Operations), None);
        assert_eq!((keys(tls, Application), keys(tls, Mqtt)), (None, None));
        for own in ["{host: a}", "[{host: a}]"] {
            let yaml = format!("operationsApi: {{network: {{securePort: 1}}, tls: {own}}}");
            let is_own = |key: String| key.starts_with("operationsApi.tls");
            assert!(keys(&yaml, Operations).is_some_and(is_own), "{own}");
        }
    }

    #[test]
    fn a_listener_without_a_certificate_is_an_error() {
        let yaml = "http: {securePort: 1}\ntls: [{uses: [operations]}]\noperationsApi: {tls: {uses: [https], ciphers: X}}";
        assert_eq!(
            problems(yaml),
            [
                "error: harperdb-config.yaml:2:1: tls.uses: no certificate is for http.securePort (an entry without `uses` is for every listener)",
                "error: harperdb-config.yaml:3:38: operationsApi.tls.ciphers: no cipher suite is left of X (leave the key out to offer all safe suites)",
                "warning: harperdb-config.yaml:3:23: operationsApi.tls.uses: has no effect: they are for the Operations API alone",
                "warning: harperdb-config.yaml:3:17: operationsApi.tls: has no effect: the Operations API has no TLS port of its own (set operationsApi.network.securePort)",
                "warning: harperdb-config.yaml:3:38: operationsApi.tls.ciphers: X is unknown or not available, ignored (there are the suites of TLS 1.3, and those of TLS 1.2 with ECDHE and AES-GCM or CHACHA20-POLY1305)",
            ]
        );
    }

    fn revocation(yaml: &str) -> Option<crate::Revocation> {
        let yaml = format!("http: {{mtls: {{certificateVerification: {yaml}}}}}");
        config(&yaml).http.client_certificates.and_then(|clients| clients.revocation)
    }

    #[test]
    fn revocation_lists_of_a_file_are_used_alone() {
        let path = "{crl: {file: /l.pem}, failureMode: fail-open}";
        let expected = crate::Revocation {
            lists: Some(Pem::Path("/l.pem".into())),
            is_fail_open: true,
            inquiry: None,
        };
        assert_eq!(revocation(path), Some(expected));
        let cli = [("http.mtls.certificateVerification.crl.file".to_owned(), "/l.pem".to_owned())];
        let sources = crate::Sources { cli: cli.to_vec(), ..crate::Sources::default() };
        let clients = crate::load(&sources).config.unwrap().http.client_certificates.unwrap();
        assert!(clients.revocation.is_some_and(|revocation| !revocation.is_fail_open));
        let both = revocation("{crl: {file: /l.pem}, ocsp: true}").unwrap();
        assert!(both.lists.is_some());
        assert!(both.inquiry.is_some_and(|asked| asked.ocsp.is_some() && asked.crl.is_none()));
    }

    #[test]
    fn authorities_are_asked_as_the_sections_say() {
        let inquiry = |yaml: &str| revocation(yaml).and_then(|revocation| revocation.inquiry);
        for off in [
            "false",
            "{enabled: false, ocsp: true}",
            "{crl: false, ocsp: false}",
            "null",
            "{enabled: null, failureMode: null}",
            "{crl: {file: null}, ocsp: null}",
        ] {
            assert_eq!(inquiry(off), None, "{off}");
        }
        let by_default = inquiry("true").unwrap();
        assert_eq!(inquiry("{crl: true}"), Some(by_default));
        let (crl, ocsp) = (by_default.crl.unwrap(), by_default.ocsp.unwrap());
        assert_eq!([crl.timeout, ocsp.timeout].map(|time| time.as_millis()), [10_000, 5_000]);
        assert_eq!((crl.cache_ttl, crl.grace), (crl.grace, std::time::Duration::from_secs(86_400)));
        assert_eq!((ocsp.cache_ttl.as_secs(), ocsp.error_ttl.as_secs()), (3_600, 300));
        assert_eq!((crl.bytes_max, by_default.answers_max), (16 << 20, 10_000));
        let modes = |yaml: &str| {
            let asked = inquiry(yaml).unwrap();
            let crl = asked.crl.is_some_and(|crl| crl.is_fail_open);
            (asked.is_fail_open, crl, asked.ocsp.is_some_and(|ocsp| ocsp.is_fail_open))
        };
        assert_eq!(modes("{failureMode: fail-open}"), (true, true, true));
        assert_eq!(modes("{ocsp: {failureMode: fail-open}}"), (false, false, true));
        let open = "{failureMode: fail-open, crl: {failureMode: fail-closed}, ocsp: false}";
        assert_eq!(modes(open), (true, false, false));
        let said = problems("http: {mtls: {certificateVerification: {crl: false, ocsp: false}}}");
        assert!(said[0].contains("neither lists nor OCSP"), "{said:?}");
        assert!(problems("http: {mtls: {certificateVerification: false}}").is_empty());
        let said = problems("http: {mtls: {certificateVerification: {ocsp: {timeout: 0}}}}");
        assert!(said[0].contains("ocsp.timeout: expected more than 0 milliseconds"), "{said:?}");
    }

    #[test]
    fn null_asks_no_client_for_a_certificate() {
        let is_asked = |yaml: &str| config(yaml).http.client_certificates.is_some();
        for (yaml, expected) in [
            ("http: {mtls: null}", false),
            ("http: {mtls: {required: null, certificateVerification: {crl: null}}}", false),
            ("http: {mtls: {}}", true),
            ("http: {mtls: {required: null, user: null}}", true),
            ("http: {mtls: {required: false}}", true),
        ] {
            assert_eq!(is_asked(yaml), expected, "{yaml}");
        }
    }
}
