//! A revocation list that was fetched (RFC 5280 §5).

use super::Found;
use super::fetch::FetchError;
use super::link::Link;
use super::ocsp::SKEW;
use super::scope::Scope;
use super::signed::{Algorithms, SignatureError, Signed};
use crate::tls::revocation::DER;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use std::time::SystemTime;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_cert::der;

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
    #[error("it is older than one that is known")]
    Older,
    #[error("it is of another authority")]
    OtherAuthority,
    #[error("{0}")]
    Signature(#[from] SignatureError),
    #[error("it could not be read")]
    Unread,
}

/// What is kept of a list: its signature has been checked.
pub(super) struct List {
    pub(super) scope: Scope,
    revoked: Numbers,
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
        let list = CertRevocationList::from(BorrowedCertRevocationList::from_der(encoded)?);
        if list.issuer() != name {
            return Err(ListError::OtherAuthority);
        }
        // what others have written is not read any further
        signed.check(key, algorithms)?;
        let scope = Scope::read(&signed, &list)?;
        if scope.this_update > SystemTime::now() + SKEW {
            return Err(ListError::OutOfDate);
        }
        let CertRevocationList::Borrowed(list) = &list else { return Err(ListError::Unread) };
        let numbers = list.into_iter().map(|entry| Ok(entry?.serial_number));
        let numbers = numbers.collect::<Result<_, webpki::Error>>()?;
        let revoked = Numbers::new(numbers).ok_or(webpki::Error::BadDer)?;
        Ok(Self { scope, revoked, bytes: bytes.len() })
    }

    /// What it tells of a certificate of its authority.
    #[must_use]
    pub(super) fn find(&self, link: &Link) -> Found {
        match self.scope.covers(link) {
            false => Found::Unknown,
            true if self.revoked.contains(&link.number) => Found::Revoked,
            true => Found::Good,
        }
    }
}

/// Numbers of certificates, as they are encoded without tag and length: fewer bytes than the list that they are from.
struct Numbers {
    /// One after the other, each after its length.
    bytes: Vec<u8>,
    /// Where each begins, in the order of the numbers.
    starts: Vec<usize>,
}

impl Numbers {
    /// None when one is longer than any number of a certificate (RFC 5280 §4.1.2.2).
    fn new(mut numbers: Vec<&[u8]>) -> Option<Self> {
        numbers.sort_unstable();
        let size = numbers.iter().map(|number| number.len() + 1).sum();
        let (mut bytes, mut starts) = (Vec::with_capacity(size), Vec::with_capacity(numbers.len()));
        for number in numbers {
            starts.push(bytes.len());
            bytes.push(u8::try_from(number.len()).ok()?);
            bytes.extend_from_slice(number);
        }
        Some(Self { bytes, starts })
    }

    fn contains(&self, number: &[u8]) -> bool {
        let at = |start: usize| &self.bytes[start + 1..][..usize::from(self.bytes[start])];
        self.starts.binary_search_by(|start| at(*start).cmp(number)).is_ok()
    }
}
