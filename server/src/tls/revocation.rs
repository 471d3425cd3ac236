//! The revocation lists of the authorities of client certificates (RFC 5280 §5), as they are configured.

use super::files::Files;
use super::problem;
use harper_config::{Pem, Problem};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

/// The key that names them.
const KEY: &str = "http.mtls.certificateVerification.crl.file";

/// How DER begins (RFC 5280 §5.1: a sequence); PEM is text.
pub(super) const DER: u8 = 0x30;

/// Reads them: PEM with any number of lists, or one list as DER.
///
/// # Errors
/// There is none, or the file cannot be read.
pub(super) fn lists(
    configured: &Pem,
    files: &Files,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let (bytes, origin) = match configured {
        Pem::Inline(text) => (text.as_bytes(), "inline PEM".to_owned()),
        Pem::Path(path) => {
            let origin = path.display().to_string();
            let read = files.get(path).map_err(|error| refused(&origin, error));
            (read?, origin)
        }
    };
    if bytes.first() == Some(&DER) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.map_err(|error| refused(&origin, &format!("not PEM: {error}")))?;
    // without one, nothing would ever be checked
    if lists.is_empty() {
        return Err(refused(&origin, "there is no revocation list in it"));
    }
    Ok(lists)
}

/// What is wrong with them.
pub(super) fn refused(origin: &str, message: &str) -> Problem {
    problem(origin, KEY.to_owned(), message.to_owned(), "it begins with -----BEGIN X509 CRL-----")
}
