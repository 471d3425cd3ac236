//! Questions and answers of OCSP (RFC 6960, in the profile of RFC 5019).
//!
//! There is no nonce: answers are made in advance by many responders, and every answer has its time. The certificate of a responder
//! is not asked about in its turn (§4.2.2.2.1); it lives as briefly as its authority thinks right.

use super::Found;
use super::fetch::FetchError;
use super::link::{self, Link};
use super::signed::{Algorithms, Signed, content, parts_of_key};
use aws_lc_rs::digest;
use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::der::asn1::{AnyRef, Null, OctetString};
use x509_cert::der::oid::db::rfc5912::ID_SHA_1;
use x509_cert::der::{self, Any, Decode, Encode, Reader};
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, ResponseData, SingleResponse, TbsRequest, Version,
};

/// Size of an answer.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How far the clock of an authority may be ahead.
pub(super) const SKEW: Duration = Duration::from_secs(5 * 60);
/// Certificates in an answer that are looked at.
const CERTIFICATES_MAX: usize = 4;
/// id-kp-OCSPSigning (§4.2.2.2), encoded.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// Why an answer does not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum OcspError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is not of the form it should be: {0}")]
    Form(#[from] der::Error),
    #[error("the answer is {0:?}")]
    Refused(OcspResponseStatus),
    #[error(
        "the answer is signed neither by the authority nor by one that it has charged with that"
    )]
    Signature,
    #[error("the answer is about another certificate")]
    OtherCertificate,
    #[error("the answer is not in force")]
    OutOfDate,
    #[error("the answer is older than one that is known")]
    Older,
    #[error("the certificate is not known to who answers")]
    Unknown,
}

/// The question about a certificate. Who issued it is named by SHA-1, which every responder knows and nothing rests on.
///
/// # Errors
/// A name or key that has no digest: it is too long.
pub(super) fn request(link: &Link) -> der::Result<Vec<u8>> {
    let request = Request { req_cert: id(link)?, single_request_extensions: None };
    let tbs_request = TbsRequest {
        version: Version::V1,
        requestor_name: None,
        request_list: vec![request],
        request_extensions: None,
    };
    OcspRequest { tbs_request, optional_signature: None }.to_der()
}

/// How the certificate is called (§4.1.1).
fn id(link: &Link) -> der::Result<CertId> {
    let sha1 = |bytes: &[u8]| {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        OctetString::new(digest.as_ref())
    };
    let name = DistinguishedName::in_sequence(&link.issuer_name);
    Ok(CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: ID_SHA_1,
            parameters: Some(Any::from(Null)),
        },
        issuer_name_hash: sha1(name.as_ref())?,
        issuer_key_hash: sha1(parts_of_key(&link.issuer_key)?.1)?,
        serial_number: link.serial.clone(),
    })
}

/// What an answer says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Good or revoked.
    pub(super) found: Found,
    /// When that was so.
    pub(super) this_update: SystemTime,
    /// For how long it is in force from now on.
    pub(super) left: Duration,
}

/// Reads an answer; one without an end is in force for `time_max` after it was made.
///
/// # Errors
/// It tells nothing.
pub(super) fn read(
    bytes: &[u8],
    link: &Link,
    algorithms: Algorithms,
    time_max: Duration,
    now: SystemTime,
) -> Result<Told, OcspError> {
    let answer = OcspResponse::from_der(bytes)?;
    let (OcspResponseStatus::Successful, Some(inner)) =
        (answer.response_status, answer.response_bytes)
    else {
        return Err(OcspError::Refused(answer.response_status));
    };
    if inner.response_type != <BasicOcspResponse as der::oid::AssociatedOid>::OID {
        return Err(OcspError::Form(
            der::ErrorKind::OidUnknown { oid: inner.response_type }.into(),
        ));
    }
    let signed = Signed::read(inner.response.as_bytes())?;
    if !is_authorized(&signed, link, algorithms, now)? {
        return Err(OcspError::Signature);
    }
    let wanted = id(link)?;
    let is_wanted = |single: &SingleResponse| {
        let own = &single.cert_id;
        own.hash_algorithm.oid == wanted.hash_algorithm.oid
            && own.issuer_name_hash == wanted.issuer_name_hash
            && own.issuer_key_hash == wanted.issuer_key_hash
            && own.serial_number == wanted.serial_number
    };
    let responses = ResponseData::from_der(signed.body)?.responses;
    let single = responses.into_iter().find(is_wanted).ok_or(OcspError::OtherCertificate)?;
    let (this_update, left) = times(&single, time_max, now).ok_or(OcspError::OutOfDate)?;
    let found = match single.cert_status {
        CertStatus::Good(_) => Found::Good,
        CertStatus::Revoked(_) => Found::Revoked,
        CertStatus::Unknown(_) => return Err(OcspError::Unknown),
    };
    Ok(Told { found, this_update, left })
}

/// When it was made, and for how long it is in force from now on. One that does not say until when, since newer ones can be had at
/// any time (§4.2.2.1), is for `time_max` after it was made, or it could be sent again for ever.
fn times(
    single: &SingleResponse,
    time_max: Duration,
    now: SystemTime,
) -> Option<(SystemTime, Duration)> {
    let time = |time: &OcspGeneralizedTime| UNIX_EPOCH + time.0.to_unix_duration();
    let begin = time(&single.this_update);
    let end = match &single.next_update {
        Some(end) => time(end),
        None => begin.checked_add(time_max)?,
    };
    let left = end.checked_add(SKEW)?.duration_since(now).ok()?;
    (begin <= now + SKEW && !left.is_zero()).then_some((begin, left))
}

/// Whether the authority itself has signed the answer, or one to whom it has given a certificate for that (§4.2.2.2). By what name
/// the answer calls its signer does not matter then.
fn is_authorized(
    signed: &Signed<'_>,
    link: &Link,
    algorithms: Algorithms,
    now: SystemTime,
) -> der::Result<bool> {
    if signed.check(&link.issuer_key, algorithms).is_ok() {
        return Ok(true);
    }
    let authority = TrustAnchor {
        subject: link.issuer_name.as_slice().into(),
        subject_public_key_info: content(&link.issuer_key)?.into(),
        name_constraints: None,
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_charged = |certificate: &[u8]| {
        let certificate = CertificateDer::from(certificate);
        EndEntityCert::try_from(&certificate).is_ok_and(|own| {
            let usage = KeyUsage::required(OCSP_SIGNING);
            let (now, issuers) =
                (UnixTime::since_unix_epoch(now), std::slice::from_ref(&authority));
            own.verify_for_usage(algorithms, issuers, &[], now, usage, None, None).is_ok()
                && link::may(&own, KeyUsages::DigitalSignature)
                && signed.check(&own.subject_public_key_info(), algorithms).is_ok()
        })
    };
    Ok(certificates(signed.rest)?.into_iter().take(CERTIFICATES_MAX).any(is_charged))
}

/// The certificates that an answer brings with it (§4.2.1).
fn certificates(rest: &[u8]) -> der::Result<Vec<&[u8]>> {
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    AnyRef::from_der(content(rest)?)?.sequence(|reader| {
        let mut all = Vec::new();
        while !reader.is_finished() {
            all.push(reader.tlv_bytes()?);
        }
        Ok(all)
    })
}
