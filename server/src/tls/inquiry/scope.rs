//! Of which certificates a revocation list tells, and for how long (RFC 5280 §5).

use super::link::{Link, url};
use super::signed::Signed;
use std::time::{Duration, SystemTime};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Decode, Reader};
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::time::Time;

/// What is said of a list as a whole.
pub(super) struct Scope {
    /// The content of the name of its issuer.
    pub(super) issuer: Vec<u8>,
    /// Which of its issuer's certificates it is about; none means all (§5.2.5).
    point: Option<IssuingDistributionPoint>,
    /// From when on it is the newest (§5.1.2.4).
    pub(super) this_update: SystemTime,
    /// When a newer one will be there at the latest (§5.1.2.5).
    pub(super) next_update: SystemTime,
}

impl Scope {
    /// That of a list; whether that is signed is not looked at.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn read(signed: &Signed<'_>, list: &CertRevocationList<'_>) -> der::Result<Self> {
        let (this_update, next_update) = times(signed.body)?;
        let point = list.issuing_distribution_point().map(IssuingDistributionPoint::from_der);
        let issuer = list.issuer().to_vec();
        Ok(Self { issuer, point: point.transpose()?, this_update, next_update })
    }

    /// That of an encoded list.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn from_der(encoded: &[u8]) -> Option<Self> {
        let list = BorrowedCertRevocationList::from_der(encoded).ok()?;
        Self::read(&Signed::read(encoded).ok()?, &list.into()).ok()
    }

    /// Whether it tells of a certificate of its issuer (§6.3.3 b), whatever address it was had from.
    #[must_use]
    pub(super) fn covers(&self, link: &Link) -> bool {
        let Some(point) = &self.point else { return true };
        let is_kind = match link.is_authority {
            true => !point.only_contains_user_certs,
            false => !point.only_contains_ca_certs,
        };
        let is_named = match (&link.points, &point.distribution_point) {
            (None, _) | (_, None) => true,
            (Some(names), Some(DistributionPointName::FullName(own))) => {
                own.iter().filter_map(url).any(|own| names.iter().any(|name| name == own))
            }
            (_, Some(DistributionPointName::NameRelativeToCRLIssuer(_))) => false,
        };
        is_kind && is_named
    }

    /// For how long it goes on to be used when no newer one can be had: until it is out of date, and `grace` longer. None when that
    /// is over.
    #[must_use]
    pub(super) fn holds(&self, now: SystemTime, grace: Duration) -> Option<Duration> {
        let left = match self.next_update.duration_since(now) {
            Ok(left) => left.saturating_add(grace),
            Err(late) => grace.saturating_sub(late.duration()),
        };
        (!left.is_zero()).then_some(left)
    }
}

/// From when, and until when at the latest, it is the newest.
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
