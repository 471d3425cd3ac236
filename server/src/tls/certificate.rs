//! What is read out of a certificate (RFC 5280 §4).

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::{Any, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// The facts of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// DNS names and addresses it is for: those of its alternative names, else its common name.
    pub names: Vec<String>,
    /// The one common name of its subject.
    pub common_name: Option<String>,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What the reader could not make sense of.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, String> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| error.to_string())?;
        let facts = &parsed.tbs_certificate;
        let alternative = facts.get::<SubjectAltName>().map_err(|error| error.to_string())?;
        let mut names: Vec<String> = match alternative {
            Some((_, SubjectAltName(names))) => names.iter().filter_map(name).collect(),
            None => Vec::new(),
        };
        let common_name = common_name(&facts.subject);
        if names.is_empty() {
            names.extend(common_name.clone());
        }
        let time = |time: Duration| UNIX_EPOCH + time;
        Ok(Self {
            names,
            common_name,
            not_before: time(facts.validity.not_before.to_unix_duration()),
            not_after: time(facts.validity.not_after.to_unix_duration()),
        })
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The one common name of a subject; none when there are several, for then it is not clear who is meant.
fn common_name(subject: &Name) -> Option<String> {
    let mut all = subject.0.iter().flat_map(|part| part.0.iter()).filter(|part| part.oid == CN);
    let first = text(&all.next()?.value)?;
    all.next().is_none().then_some(first)
}

fn text(value: &Any) -> Option<String> {
    Utf8StringRef::try_from(value)
        .map(|text| text.to_string())
        .or_else(|_| PrintableStringRef::try_from(value).map(|text| text.to_string()))
        .or_else(|_| TeletexStringRef::try_from(value).map(|text| text.to_string()))
        .ok()
}
