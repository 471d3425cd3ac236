//! The certificates of the server, and those of its clients.

use super::{Config, Reader, texts};
use crate::tls::{Pem, TlsEntry, TlsVersion};
use serde_json::Value;
use std::time::Duration;

/// How clients are asked for certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificates {
    /// A handshake without one fails.
    pub required: bool,
    /// Whom one stands for.
    pub user: CertificateUser,
    /// Authorities that they may be from; none means those of the server's own certificate.
    pub authority: Option<Pem>,
    /// How revoked ones are found out; none means that they are not.
    pub revocation: Option<Revocation>,
}

/// How revoked certificates are found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Revocation {
    /// Revocation lists of the authorities that handshakes look into.
    pub lists: Option<Pem>,
    /// Whether a certificate is good of which nothing tells.
    pub is_fail_open: bool,
    /// Whom to ask after the handshake; none means nobody.
    pub inquiry: Option<Inquiry>,
}

/// How authorities are asked about their certificates, over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Whether a certificate is good that names nobody to ask.
    pub is_fail_open: bool,
    /// Answers that are remembered.
    pub answers_max: usize,
    /// By lists; none means not.
    pub crl: Option<CrlInquiry>,
    /// One by one; none means not.
    pub ocsp: Option<OcspInquiry>,
}

/// How revocation lists are fetched (RFC 5280 §4.2.1.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlInquiry {
    /// Time for one.
    pub timeout: Duration,
    /// Time for which one is used.
    pub cache_ttl: Duration,
    /// Time for which one that is out of date is used while there is no newer one.
    pub grace: Duration,
    /// Whether a certificate is good of which no list tells.
    pub is_fail_open: bool,
    /// Bytes of all that are kept.
    pub bytes_max: usize,
}

/// How authorities are asked with OCSP (RFC 6960).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspInquiry {
    /// Time for an answer.
    pub timeout: Duration,
    /// Time for which one is used.
    pub cache_ttl: Duration,
    /// Time for which the lack of one is remembered.
    pub error_ttl: Duration,
    /// Whether a certificate is good of which no answer tells.
    pub is_fail_open: bool,
}

/// Whom a client's certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateUser {
    /// The user that its common name names.
    CommonName,
    /// This user, whoever presents it.
    Named(String),
    /// Nobody: credentials are needed beside it.
    Nobody,
}

/// A listener that speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsListener {
    /// `http.securePort`
    Application,
    /// `operationsApi.network.securePort`, where that is a port of its own.
    Operations,
    /// `mqtt.network.securePort`
    Mqtt,
}

impl TlsListener {
    /// Each of them once.
    pub const ALL: [Self; 3] = [Self::Application, Self::Operations, Self::Mqtt];

    /// The key that opens it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Application => "http.securePort",
            Self::Operations => "operationsApi.network.securePort",
            Self::Mqtt => "mqtt.network.securePort",
        }
    }
}

impl Config {
    /// The certificates for a listener, the first for clients that ask for no known name; none when there is no such
    /// listener.
    #[must_use]
    pub fn certificates(&self, listener: TlsListener) -> Option<Vec<&TlsEntry>> {
        let (http, operations) = (&self.http.secure_port, &self.operations_api.secure_port);
        let is_shared = http == operations && http.as_ref().is_some_and(|port| port.port != 0);
        let for_use = |uses: &[&str]| {
            let is_for = |entry: &&TlsEntry| {
                entry.uses.is_empty() || entry.uses.iter().any(|name| uses.contains(&&name[..]))
            };
            self.tls.iter().filter(is_for).collect()
        };
        match listener {
            TlsListener::Application => http.as_ref().map(|_| match is_shared {
                true => for_use(&["https", "wss", "operations"]),
                false => for_use(&["https", "wss"]),
            }),
            TlsListener::Operations => operations.as_ref().filter(|_| !is_shared).map(|_| {
                match &self.operations_api.tls[..] {
                    [] => for_use(&["operations"]),
                    own => own.iter().collect(),
                }
            }),
            TlsListener::Mqtt => self.mqtt.secure_port.as_ref().map(|_| for_use(&["mqtts"])),
        }
    }

    /// How clients of a listener are asked for certificates; none when they are not.
    #[must_use]
    pub fn client_certificates(&self, listener: TlsListener) -> Option<&ClientCertificates> {
        match listener {
            TlsListener::Application => self.http.client_certificates.as_ref(),
            TlsListener::Operations => None,
            TlsListener::Mqtt => self.mqtt.client_certificates.as_ref(),
        }
    }
}

impl Reader<'_> {
    /// What the section of this name says; none when clients are not asked.
    pub(super) fn client_certificates(&self, name: &str) -> Option<ClientCertificates> {
        let member = |member: &str| format!("{name}.{member}");
        if !self.value(&member("enabled")).as_bool().unwrap_or(self.is_written(name)) {
            return None;
        }
        let user = match self.value(&member("user")).as_str() {
            None => CertificateUser::Nobody,
            Some("CN" | "Common Name") => CertificateUser::CommonName,
            Some(name) => CertificateUser::Named(name.to_owned()),
        };
        let authority = self.value(&member("certificateAuthority"));
        Some(ClientCertificates {
            required: self.flag(&member("required")),
            user,
            authority: authority.as_str().map(Pem::from_text),
            revocation: self.revocation(&member("certificateVerification")),
        })
    }

    /// Whether the configuration has a section, or one below it.
    fn is_written(&self, name: &str) -> bool {
        let prefix = format!("{name}.");
        let is_below = |section: &String| section.starts_with(&prefix);
        self.sections.contains(name) || self.sections.iter().any(is_below)
    }

    fn revocation(&self, name: &str) -> Option<Revocation> {
        let lists = self.value(&format!("{name}.crl.file")).as_str().map(Pem::from_text);
        let is_wanted = self.is_written(name) || lists.is_some();
        if !self.value(&format!("{name}.enabled")).as_bool().unwrap_or(is_wanted) {
            return None;
        }
        let is_fail_open = self.text(&format!("{name}.failureMode")) == "fail-open";
        let inquiry = self.inquiry(name, is_fail_open, lists.is_none());
        // with neither there is nothing to find out, and a warning says so
        let is_any = lists.is_some() || inquiry.is_some();
        is_any.then_some(Revocation { lists, is_fail_open, inquiry })
    }

    /// Whom to ask over the network; `is_asked` is what stands where the configuration is silent.
    fn inquiry(&self, name: &str, is_fail_open: bool, is_asked: bool) -> Option<Inquiry> {
        let is_enabled = |kind: &str| {
            self.value(&format!("{name}.{kind}.enabled")).as_bool().unwrap_or(is_asked)
        };
        let time = |member: &str| self.millis(&format!("{name}.{member}"));
        let mode = |kind: &str| {
            let own = self.value(&format!("{name}.{kind}.failureMode"));
            own.as_str().map_or(is_fail_open, |mode| mode == "fail-open")
        };
        let crl = is_enabled("crl").then(|| CrlInquiry {
            timeout: time("crl.timeout"),
            cache_ttl: time("crl.cacheTtl"),
            grace: time("crl.gracePeriod"),
            is_fail_open: mode("crl"),
            bytes_max: self.size(&format!("{name}.crl.bytesMax")),
        });
        let ocsp = is_enabled("ocsp").then(|| OcspInquiry {
            timeout: time("ocsp.timeout"),
            cache_ttl: time("ocsp.cacheTtl"),
            error_ttl: time("ocsp.errorCacheTtl"),
            is_fail_open: mode("ocsp"),
        });
        let answers_max = self.size(&format!("{name}.cacheMax"));
        let is_any = crl.is_some() || ocsp.is_some();
        is_any.then_some(Inquiry { is_fail_open, answers_max, crl, ocsp })
    }

    /// The same where there need not be any.
    pub(super) fn own_tls(&self, name: &str) -> Vec<TlsEntry> {
        let is_written = self.sections.contains(name) || !self.value(name).is_null();
        if is_written { self.tls(name) } else { Vec::new() }
    }

    /// The entries of a list of certificates, or the one of its section.
    pub(super) fn tls(&self, name: &str) -> Vec<TlsEntry> {
        match self.value(name).as_array().filter(|items| !items.is_empty()) {
            Some(items) => {
                let entry = |(index, item): (usize, &Value)| {
                    self.tls_entry(name, format!("{name}[{index}]"), Some(item))
                };
                items.iter().enumerate().map(entry).collect()
            }
            None => vec![self.tls_entry(name, name.to_owned(), None)],
        }
    }

    /// One entry; what a member of a list does not say of versions and ciphers is as in the section.
    fn tls_entry(&self, name: &str, key: String, item: Option<&Value>) -> TlsEntry {
        // a section need not have every member
        let section = |member: &str| {
            self.values.get(format!("{name}.{member}").as_str()).copied().unwrap_or(&Value::Null)
        };
        let own = |member: &str| match item {
            Some(item) => &item[member],
            None => section(member),
        };
        let shared = |member: &str| match own(member) {
            Value::Null => section(member),
            value => value,
        };
        let pem = |member: &str| own(member).as_str().map(Pem::from_text);
        let is_13 = shared("minVersion").as_str().is_some_and(|version| version.ends_with("1.3"));
        TlsEntry {
            key,
            certificate: pem("certificate"),
            private_key: pem("privateKey"),
            certificate_authority: pem("certificateAuthority"),
            hosts: texts(own("host")).unwrap_or_default(),
            ciphers: shared("ciphers").as_str().map(str::to_owned),
            min_version: if is_13 { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
            uses: texts(own("uses")).unwrap_or_default(),
        }
    }
}
