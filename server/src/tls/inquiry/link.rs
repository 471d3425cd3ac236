//! The certificates between a client and its authority, and where they say that one may ask about them.

use super::signed::Algorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use std::iter::once;
use webpki::{Cert, EndEntityCert, spki_for_anchor};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::ID_AD_OCSP;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints, KeyUsage, KeyUsages};
use x509_cert::serial_number::SerialNumber;

/// One certificate, and what is known of who issued it.
#[derive(Clone)]
pub(super) struct Link {
    /// Its number.
    pub(super) serial: SerialNumber,
    /// The same as it is encoded, without tag and length.
    pub(super) number: Vec<u8>,
    /// The content of the issuer's name.
    pub(super) issuer_name: Vec<u8>,
    /// The issuer's key.
    pub(super) issuer_key: SubjectPublicKeyInfoDer<'static>,
    /// Whether it issues certificates itself.
    pub(super) is_authority: bool,
    /// Whether the issuer's certificate lets it sign lists (RFC 5280 §6.3.3 f).
    pub(super) may_sign_lists: bool,
    /// What the places of lists are called (RFC 5280 §4.2.1.13), as addresses of any kind; none when there is no word of them.
    pub(super) points: Option<Vec<String>>,
    /// Who answers OCSP (RFC 5280 §4.2.2.1).
    pub(super) responders: Vec<String>,
}

/// The certificates of a chain that lead to an authority, the client's own first, the authority's left out.
///
/// # Errors
/// They do not lead to one.
pub(super) fn path(
    chain: &[CertificateDer<'_>],
    authorities: &[TrustAnchor<'_>],
    algorithms: Algorithms,
) -> Result<Vec<Link>, webpki::Error> {
    let (own, others) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
    let own = EndEntityCert::try_from(own)?;
    let (now, usage) = (UnixTime::now(), webpki::KeyUsage::client_auth());
    let path = own.verify_for_usage(algorithms, authorities, others, now, usage, None, None)?;
    let between = || path.intermediate_certificates();
    let last = Issuer { key: spki_for_anchor(path.anchor()).into_owned(), may_sign_lists: true };
    let issuers = between().map(Issuer::of).chain(once(last));
    let certificates = once(&*own).chain(between()).zip(issuers).enumerate();
    certificates.map(|(index, (own, issuer))| Link::new(own, issuer, index > 0)).collect()
}

/// Who issued a certificate.
struct Issuer {
    key: SubjectPublicKeyInfoDer<'static>,
    may_sign_lists: bool,
}

impl Issuer {
    fn of(certificate: &Cert<'_>) -> Self {
        let key = certificate.subject_public_key_info();
        Self { key, may_sign_lists: may(certificate, KeyUsages::CRLSign) }
    }
}

/// Whether a certificate does not say that its key is for other uses (RFC 5280 §4.2.1.3).
#[must_use]
pub(super) fn may(certificate: &Cert<'_>, usage: KeyUsages) -> bool {
    let parsed = x509_cert::Certificate::from_der(&certificate.der());
    parsed.is_ok_and(|parsed| match parsed.tbs_certificate.get::<KeyUsage>() {
        Ok(own) => own.is_none_or(|(_, own)| own.0.contains(usage)),
        Err(_) => false,
    })
}

impl Link {
    /// Where lists are that can be asked for.
    pub(super) fn lists(&self) -> impl Iterator<Item = &str> {
        let names = self.points.iter().flatten().map(String::as_str);
        names.filter(|url| self.may_sign_lists && is_plain_http(url))
    }

    fn new(
        certificate: &Cert<'_>,
        issuer: Issuer,
        is_authority: bool,
    ) -> Result<Self, webpki::Error> {
        let parsed = x509_cert::Certificate::from_der(&certificate.der());
        let facts = parsed.map_err(|_| webpki::Error::BadDer)?.tbs_certificate;
        // an extension that cannot be read names nobody
        let points = facts.get::<CrlDistributionPoints>();
        let access = facts.get::<AuthorityInfoAccessSyntax>().ok().flatten();
        Ok(Self {
            number: certificate.serial().to_vec(),
            issuer_name: certificate.issuer().to_vec(),
            issuer_key: issuer.key,
            may_sign_lists: issuer.may_sign_lists,
            is_authority,
            points: points.map_or_else(|_| Some(Vec::new()), |own| own.map(|(_, own)| names(&own))),
            responders: access.map(|(_, access)| responders(&access)).unwrap_or_default(),
            serial: facts.serial_number,
        })
    }
}

/// The places of lists for all reasons, by the issuer itself.
fn names(points: &CrlDistributionPoints) -> Vec<String> {
    let whole =
        points.0.iter().filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
    let names = whole.filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    names.flatten().filter_map(url).map(str::to_owned).collect()
}

fn responders(access: &AuthorityInfoAccessSyntax) -> Vec<String> {
    let ocsp = access.0.iter().filter(|description| description.access_method == ID_AD_OCSP);
    let names = ocsp.filter_map(|description| url(&description.access_location));
    names.filter(|url| is_plain_http(url)).map(str::to_owned).collect()
}

/// The address that a name is, if it is one.
pub(super) fn url(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::UniformResourceIdentifier(url) => Some(url.as_str()),
        _ => None,
    }
}

/// Whether an address can be asked; what it answers is signed, so that nothing is gained by TLS (RFC 5280 §8).
fn is_plain_http(url: &str) -> bool {
    url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}
