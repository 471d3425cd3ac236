//! What an authority has signed (RFC 5280 §4.1.1 and §5.1.1, RFC 6960 §4.2.1): body, algorithm, signature.

use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{self, Decode, Reader};

/// The signatures that are understood.
pub(super) type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// Why something is not known to be signed by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("its authority has not signed it")]
    Forged,
    #[error("it is signed in a way that is not understood")]
    NotUnderstood,
}

/// A signed structure, as its bytes were sent: what is encoded anew need not be what was signed.
pub(super) struct Signed<'a> {
    /// What is signed, with its tag and length.
    pub(super) body: &'a [u8],
    /// What comes after the signature.
    pub(super) rest: &'a [u8],
    /// The content of its `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: BitStringRef<'a>,
}

impl<'a> Signed<'a> {
    /// Takes it apart; whether it is signed is not looked at.
    ///
    /// # Errors
    /// It is not of that form.
    pub(super) fn read(bytes: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(bytes)?.sequence(|reader| {
            Ok(Self {
                body: reader.tlv_bytes()?,
                algorithm: content(reader.tlv_bytes()?)?,
                signature: reader.decode()?,
                rest: reader.read_slice(reader.remaining_len())?,
            })
        })
    }

    /// Checks that a key (a `SubjectPublicKeyInfo`, RFC 5280 §4.1.2.7) has signed it.
    ///
    /// # Errors
    /// It has not, or that cannot be told.
    pub(super) fn check(&self, key: &[u8], algorithms: Algorithms) -> Result<(), SignatureError> {
        let (kind, bits) = parts_of_key(key).map_err(|_| SignatureError::NotUnderstood)?;
        let signature = self.signature.as_bytes().ok_or(SignatureError::NotUnderstood)?;
        let is_known = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
        };
        let known: Vec<_> = algorithms.iter().filter(is_known).collect();
        let is_by = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            algorithm.public_key_alg_id().as_ref() == kind
                && algorithm.verify_signature(bits, self.body, signature).is_ok()
        };
        match known.is_empty() {
            true => Err(SignatureError::NotUnderstood),
            false if known.into_iter().any(is_by) => Ok(()),
            false => Err(SignatureError::Forged),
        }
    }
}

/// What is within a tag and a length.
///
/// # Errors
/// It is not DER.
pub(super) fn content(bytes: &[u8]) -> der::Result<&[u8]> {
    AnyRef::from_der(bytes).map(AnyRef::value)
}

/// The algorithm of a key, and its bits.
///
/// # Errors
/// It is not of that form.
pub(super) fn parts_of_key(key: &[u8]) -> der::Result<(&[u8], &[u8])> {
    AnyRef::from_der(key)?.sequence(|reader| {
        let kind = content(reader.tlv_bytes()?)?;
        Ok((kind, BitStringRef::decode(reader)?.raw_bytes()))
    })
}
