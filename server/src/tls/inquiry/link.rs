//! The certificates between a client and its authority, and where they say that one may ask about them.

use super::signed::Algorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use std::iter::once;
use webpki::{Cert, EndEntityCert, KeyUsage, spki_for_anchor};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::ID_AD_OCSP;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints};
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
    /// Where lists are (RFC 5280 §4.2.1.13).
    pub(super) lists: Vec<String>,
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
    let (now, usage) = (UnixTime::now(), KeyUsage::client_auth());
    let path = own.verify_for_usage(algorithms, authorities, others, now, usage, None, None)?;
    let between = || path.intermediate_certificates();
    let last = spki_for_anchor(path.anchor()).into_owned();
    let keys = between().map(|issuer| issuer.subject_public_key_info()).chain(once(last));
    let certificates = once(&*own).chain(between()).zip(keys).enumerate();
    certificates.map(|(index, (certificate, key))| Link::new(certificate, key, index > 0)).collect()
}

impl Link {
    fn new(
        certificate: &Cert<'_>,
        issuer_key: SubjectPublicKeyInfoDer<'static>,
        is_authority: bool,
    ) -> Result<Self, webpki::Error> {
        let parsed = x509_cert::Certificate::from_der(&certificate.der());
        let facts = parsed.map_err(|_| webpki::Error::BadDer)?.tbs_certificate;
        // an extension that cannot be read names nobody
        let points = facts.get::<CrlDistributionPoints>().ok().flatten();
        let access = facts.get::<AuthorityInfoAccessSyntax>().ok().flatten();
        Ok(Self {
            number: certificate.serial().to_vec(),
            issuer_name: certificate.issuer().to_vec(),
            issuer_key,
            is_authority,
            lists: points.map(|(_, points)| lists(&points)).unwrap_or_default(),
            responders: access.map(|(_, access)| responders(&access)).unwrap_or_default(),
            serial: facts.serial_number,
        })
    }
}

/// Lists for all reasons, by the issuer itself.
fn lists(points: &CrlDistributionPoints) -> Vec<String> {
    let whole =
        points.0.iter().filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
    let names = whole.filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    names.flatten().filter_map(plain_http).collect()
}

fn responders(access: &AuthorityInfoAccessSyntax) -> Vec<String> {
    let ocsp = access.0.iter().filter(|description| description.access_method == ID_AD_OCSP);
    ocsp.filter_map(|description| plain_http(&description.access_location)).collect()
}

/// An address that can be asked; what it answers is signed, so that nothing is gained by TLS (RFC 5280 §8).
pub(super) fn plain_http(name: &GeneralName) -> Option<String> {
    let GeneralName::UniformResourceIdentifier(url) = name else { return None };
    let scheme = url.as_str().get(..7)?;
    scheme.eq_ignore_ascii_case("http://").then(|| url.to_string())
}
