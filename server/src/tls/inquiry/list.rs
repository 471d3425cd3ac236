//! A revocation list that was fetched (RFC 5280 §5).

use super::fetch::FetchError;
use super::link::{Link, plain_http};
use super::signed::{Algorithms, Signed};
use super::{Found, ocsp::SKEW};
use crate::tls::revocation::DER;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Decode, Reader};
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::time::Time;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("what came is no revocation list: {0}")]
    Form(#[from] webpki::Error),
    #[error("what came is no revocation list: {0}")]
    Encoding(#[from] der::Error),
    #[error("it is not in force")]
    OutOfDate,
    #[error("it is of another authority")]
    OtherAuthority,
    #[error("its authority has not signed it")]
    Forged,
}

/// What is kept of a list: its signature has been checked.
pub(super) struct List {
    /// What it tells of; none means all certificates of its issuer (§5.2.5).
    scope: Option<IssuingDistributionPoint>,
    revoked: HashSet<Box<[u8]>>,
    /// When a newer one will be there at the latest.
    pub(super) next_update: SystemTime,
    /// Its size as it was sent.
    pub(super) bytes: usize,
}

impl List {
    /// Reads a list, as DER or PEM, and checks that it is of the authority of this name and key.
    ///
    /// # Errors
    /// It has another form or signature, or is one of the future. Changes of other lists, and lists of several issuers or for some
    /// reasons alone, are not understood.
    pub(super) fn read(
        bytes: &[u8],
        (name, key): (&[u8], &[u8]),
        algorithms: Algorithms,
    ) -> Result<Self, ListError> {
        let from_pem = || CertificateRevocationListDer::from_pem_slice(bytes);
        let text = (bytes.first() != Some(&DER)).then(from_pem);
        let text = text.transpose().map_err(|_| webpki::Error::BadDer)?;
        let encoded = text.as_ref().map_or(bytes, |text| text.as_ref());
        let signed = Signed::read(encoded)?;
        let list = BorrowedCertRevocationList::from_der(encoded)?;
        let numbers = (&list).into_iter().map(|entry| Ok(entry?.serial_number.into()));
        let revoked = numbers.collect::<Result<_, webpki::Error>>()?;
        let list = CertRevocationList::from(list);
        if list.issuer() != name {
            return Err(ListError::OtherAuthority);
        }
        if !signed.is_by(key, algorithms) {
            return Err(ListError::Forged);
        }
        let (this_update, next_update) = times(signed.body)?;
        if this_update > SystemTime::now() + SKEW {
            return Err(ListError::OutOfDate);
        }
        let scope = list.issuing_distribution_point().map(IssuingDistributionPoint::from_der);
        Ok(Self { scope: scope.transpose()?, revoked, next_update, bytes: bytes.len() })
    }

    /// What it tells of a certificate of its authority that names this address.
    #[must_use]
    pub(super) fn find(&self, link: &Link, url: &str) -> Found {
        if self.scope.as_ref().is_some_and(|scope| !tells_of(scope, link, url)) {
            return Found::Unknown;
        }
        match self.revoked.contains(&link.number[..]) {
            true => Found::Revoked,
            false => Found::Good,
        }
    }

    /// Whether it is in force, or has not been out of date for longer than `grace`.
    #[must_use]
    pub(super) fn is_usable(&self, now: SystemTime, grace: Duration) -> bool {
        now.duration_since(self.next_update).is_ok_and(|late| late <= grace)
            || now < self.next_update
    }
}

/// Whether a scope is that of the address and of such certificates (§6.3.3 b).
fn tells_of(scope: &IssuingDistributionPoint, link: &Link, url: &str) -> bool {
    let is_kind = match link.is_authority {
        true => !scope.only_contains_user_certs,
        false => !scope.only_contains_ca_certs,
    };
    is_kind
        && match &scope.distribution_point {
            None => true,
            Some(DistributionPointName::FullName(names)) => {
                names.iter().filter_map(plain_http).any(|name| name == url)
            }
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => false,
        }
}

/// From when, and until when at the latest, it is the newest (§5.1.2.4 and §5.1.2.5).
fn times(body: &[u8]) -> der::Result<(SystemTime, SystemTime)> {
    AnyRef::from_der(body)?.sequence(|reader| {
        for _ in ["version", "signature", "issuer"] {
            reader.tlv_bytes()?;
        }
        let times = (Time::decode(reader)?, Time::decode(reader)?);
        reader.read_slice(reader.remaining_len())?;
        Ok((times.0.to_system_time(), times.1.to_system_time()))
    })
}
