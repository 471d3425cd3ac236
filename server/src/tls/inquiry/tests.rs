//! What is read of lists and answers, at times and in scopes of a test's choice.

use super::Found;
use super::link::{self, Link};
use super::list::{List, ListError};
use super::memory::{Answer, Bounds, Failure, Memory};
use super::ocsp::{self, OcspError, SKEW};
use super::signed::Algorithms;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SigningKey, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::LocalSet;
use x509_cert::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, ResponderId,
    ResponseData, SingleResponse, Version,
};

const HOUR: Duration = Duration::from_secs(3600);
const URL: &str = "http://a.example/list";

fn algorithms() -> Algorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms.all
}

/// A certificate with the number 7 that names places of lists.
fn named(issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(7_u64.into());
    params.crl_distribution_points = vec![
        CrlDistributionPoint { uris: vec!["ldap://a.example/x".into(), URL.into()] },
        CrlDistributionPoint { uris: vec!["HTTP://b.example/list".into()] },
    ];
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

/// An authority.
struct World {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), own }
    }

    /// A certificate of the authority with the number 7.
    fn link(&self) -> Link {
        let authority = webpki::anchor_from_trusted_cert(&self.own).unwrap();
        let path = link::path(&[named(&self.issuer)], &[authority], algorithms());
        path.unwrap().remove(0)
    }

    fn list(&self, revoked: u64, scope: Option<(&str, Option<CrlScope>)>) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: scope.map(|(url, scope)| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: vec![url.into()] },
                scope,
            }),
            revoked_certs: vec![RevokedCertParams {
                serial_number: revoked.into(),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    fn read(&self, bytes: &[u8], link: &Link) -> Result<List, ListError> {
        List::read(bytes, (&link.issuer_name, &link.issuer_key), algorithms())
    }

    /// What the authority answers about a certificate.
    fn answer(&self, link: &Link, begin: SystemTime, end: Option<SystemTime>) -> Vec<u8> {
        let time = |time: SystemTime| {
            let since = Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap().as_secs());
            OcspGeneralizedTime(GeneralizedTime::from_unix_duration(since).unwrap())
        };
        let question = OcspRequest::from_der(&ocsp::request(link).unwrap()).unwrap();
        let single = SingleResponse {
            cert_id: question.tbs_request.request_list[0].req_cert.clone(),
            cert_status: CertStatus::good(),
            this_update: time(begin),
            next_update: end.map(time),
            single_extensions: None,
        };
        let data = ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByKey(OctetString::new([0; 20]).unwrap()),
            produced_at: time(begin),
            responses: vec![single],
            response_extensions: None,
        };
        let signature = self.issuer.key().sign(&data.to_der().unwrap()).unwrap();
        let basic = BasicOcspResponse {
            tbs_response_data: data,
            signature_algorithm: AlgorithmIdentifierOwned {
                oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
                parameters: None,
            },
            signature: BitString::from_bytes(&signature).unwrap(),
            certs: None,
        };
        OcspResponse::successful(basic).unwrap().to_der().unwrap()
    }
}

#[test]
fn only_plain_http_is_asked() {
    let link = World::new().link();
    assert_eq!(link.lists().collect::<Vec<_>>(), [URL, "HTTP://b.example/list"]);
    let no_signer = Link { may_sign_lists: false, ..link };
    assert_eq!(no_signer.lists().next(), None, "its issuer does not sign lists");
}

#[test]
fn only_who_may_sign_lists_is_asked_for_them() {
    for (usages, expected) in [
        (vec![KeyUsagePurpose::KeyCertSign], 0),
        (vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], 2),
        (vec![], 2),
    ] {
        let world = World::new();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages.clone();
        let key = KeyPair::generate().unwrap();
        let between = params.signed_by(&key, &world.issuer).unwrap().der().clone();
        let own = named(&Issuer::new(params, key));
        let authority = webpki::anchor_from_trusted_cert(&world.own).unwrap();
        let path = link::path(&[own, between], &[authority], algorithms()).unwrap();
        assert_eq!(path[0].lists().count(), expected, "{usages:?}");
    }
}

/// What a question is answered with when this comes of it, one after the other: an answer and for how many milliseconds it holds, or
/// a failure, which stands as 0. All are used for 20 ms, and asked again after 40.
fn told(came: &[Option<(u32, u64)>]) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let memory = Memory::new(Arc::default());
    let bounds = Bounds { weight_max: 1, timeout: Duration::ZERO };
    let used = Duration::from_millis(20);
    LocalSet::new().block_on(&runtime, async {
        let mut told = Vec::new();
        for came in came.iter().copied() {
            let came = async move {
                let (value, holds) = came.ok_or(Failure { value: 0, retry: used, weight: 1 })?;
                let (made, holds) = (UNIX_EPOCH, Duration::from_millis(holds));
                Ok(Answer { value, made, used, holds, weight: 1 })
            };
            told.push(memory.get((), bounds, came).await);
            tokio::time::sleep(2 * used).await;
        }
        told
    })
}

#[test]
fn a_failure_replaces_nothing_that_holds() {
    assert_eq!(told(&[Some((1, 60_000)), None, None, Some((2, 0)), None]), [1, 1, 1, 2, 0]);
    assert_eq!(told(&[None, Some((1, 0)), None, Some((2, 60_000)), None]), [0, 1, 0, 2, 2]);
}

#[test]
fn what_ends_first_makes_room() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let memory = Memory::new(Arc::default());
    let bounds = Bounds { weight_max: 3, timeout: Duration::ZERO };
    LocalSet::new().block_on(&runtime, async {
        for (key, hours) in [(1, 9), (2, 1), (3, 9), (4, 9)] {
            let (made, used) = (UNIX_EPOCH + HOUR, hours * HOUR);
            let answer = Answer { value: (), made, used, holds: used, weight: 1 };
            memory.get(key, bounds, async { Ok(answer) }).await;
        }
        let known = [1, 2, 3, 4].map(|key| memory.newest(&key) > UNIX_EPOCH);
        assert_eq!(known, [true, false, true, true]);
    });
}

#[test]
fn a_list_tells_within_its_scope() {
    let world = World::new();
    let link = world.link();
    let authority = Link { is_authority: true, ..link.clone() };
    let told = |revoked, scope, link: &Link| {
        world.read(&world.list(revoked, scope), link).unwrap().find(link)
    };
    let (users, authorities) = (Some(CrlScope::UserCertsOnly), Some(CrlScope::CaCertsOnly));
    assert_eq!(told(7, None, &link), Found::Revoked);
    assert_eq!(told(8, None, &link), Found::Good);
    assert_eq!(told(7, Some((URL, None)), &link), Found::Revoked);
    assert_eq!(told(8, Some(("http://b.example/list", None)), &link), Found::Unknown);
    assert_eq!(told(7, Some(("ldap://a.example/x", None)), &link), Found::Revoked, "another name");
    assert_eq!(told(7, Some((URL, users)), &link), Found::Revoked);
    assert_eq!(told(7, Some((URL, users)), &authority), Found::Unknown);
    assert_eq!(told(8, Some((URL, authorities)), &link), Found::Unknown);
    assert_eq!(told(8, Some((URL, authorities)), &authority), Found::Good);
}

#[test]
fn an_answer_is_good_for_its_time() {
    let world = World::new();
    let link = world.link();
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let left = |begin, end| {
        let answer = world.answer(&link, begin, end);
        ocsp::read(&answer, &link, algorithms(), HOUR, now).map(|told| {
            assert_eq!((told.found, told.this_update), (Found::Good, begin));
            told.left
        })
    };
    assert_eq!(left(now, Some(now + 2 * HOUR)).unwrap(), 2 * HOUR + SKEW);
    assert_eq!(left(now, Some(now + HOUR / 2)).unwrap(), HOUR / 2 + SKEW);
    assert_eq!(left(now - HOUR / 2, None).unwrap(), HOUR / 2 + SKEW, "from when it was made");
    for (begin, end) in
        [(now - HOUR, Some(now - SKEW)), (now - 2 * HOUR, None), (now + 2 * SKEW, Some(now + HOUR))]
    {
        assert!(matches!(left(begin, end), Err(OcspError::OutOfDate)), "{begin:?} {end:?}");
    }
    let other = World::new();
    let forged = other.answer(&link, now, None);
    let read = ocsp::read(&forged, &link, algorithms(), HOUR, now);
    assert!(matches!(read, Err(OcspError::Signature)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_bytes_tell_nothing_but_what_was_signed(place: prop::sample::Index, bit in 0..8_u8, cut: bool) {
        let world = World::new();
        let link = world.link();
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let change = |mut bytes: Vec<u8>| {
            let place = place.index(bytes.len());
            if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
            bytes
        };
        if let Ok(list) = world.read(&change(world.list(7, None)), &link) {
            prop_assert_eq!(list.find(&link), Found::Revoked);
        }
        let answer = change(world.answer(&link, now, None));
        if let Ok(told) = ocsp::read(&answer, &link, algorithms(), HOUR, now) {
            prop_assert_eq!((told.found, told.this_update), (Found::Good, now));
        }
    }
}
