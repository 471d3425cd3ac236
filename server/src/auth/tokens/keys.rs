//! RSA keys as PEM (RFC 7468), given as text or as the path of a file, or made and kept by the server.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Harper's names of the files.
const PRIVATE: &str = ".jwtPrivate.key";
const PUBLIC: &str = ".jwtPublic.key";

/// Bytes of a key below which it is refused (RFC 7518 §3.3).
const MODULUS_BYTES_MIN: usize = 256;

/// Why a key cannot be used. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The path.
        path: String,
        /// The system's word.
        error: std::io::Error,
    },
    /// It is not the key it should be.
    #[error("{origin}: {reason}")]
    Unusable {
        /// The path, or that it was given as text.
        origin: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A key could not be made.
    #[error("a key pair for tokens could not be made")]
    Generate,
    /// The key cannot sign.
    #[error("a token could not be signed")]
    Sign,
}

/// A PEM text, and what to call it in a message.
fn pem(text: &str) -> Result<(Vec<u8>, String), KeysError> {
    if text.contains("-----BEGIN") {
        return Ok((text.as_bytes().to_vec(), "the key given as text".to_owned()));
    }
    let bytes =
        std::fs::read(text).map_err(|error| KeysError::File { path: text.to_owned(), error })?;
    Ok((bytes, text.to_owned()))
}

/// The private key that `text` is or names.
pub(super) fn private(text: &str) -> Result<KeyPair, KeysError> {
    let (pem, origin) = pem(text)?;
    let unusable = |reason| KeysError::Unusable { origin: origin.clone(), reason };
    if pem.windows(9).any(|part| part == b"ENCRYPTED") {
        return Err(unusable("the private key is encrypted; decrypt it with `openssl pkey`"));
    }
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable("no private key in PEM"))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unusable("not an RSA key")),
    };
    let pair = pair.map_err(|_| unusable("not an RSA key"))?;
    if pair.public_modulus_len() < MODULUS_BYTES_MIN {
        return Err(unusable("an RSA key needs 2048 bits or more"));
    }
    Ok(pair)
}

/// The public key that `text` is or names, as DER (RFC 8017 §A.1.1).
pub(super) fn public(text: &str) -> Result<Vec<u8>, KeysError> {
    let (pem, origin) = pem(text)?;
    let unusable = |reason| KeysError::Unusable { origin: origin.clone(), reason };
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem)
        .map_err(|_| unusable("no public key in PEM"))?;
    let key = PublicKey::from_der(&der).map_err(|_| unusable("not an RSA key"))?;
    if key.modulus_len() < MODULUS_BYTES_MIN {
        return Err(unusable("an RSA key needs 2048 bits or more"));
    }
    Ok(key.as_ref().to_vec())
}

/// What a token calls the key that has signed it.
pub(super) fn id(public: &[u8]) -> String {
    blake3::hash(public).to_hex()[..16].to_owned()
}

/// The server's own key pair; made and written where there is none.
pub(super) fn own(folder: &Path) -> Result<KeyPair, KeysError> {
    let path = folder.join(PRIVATE);
    if path.exists() {
        return private(&path.display().to_string());
    }
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeysError::Generate)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeysError::Generate)?;
    let public: PublicKeyX509Der<'_> =
        pair.public_key().as_der().map_err(|_| KeysError::Generate)?;
    let file = |error| KeysError::File { path: folder.display().to_string(), error };
    std::fs::create_dir_all(folder).map_err(file)?;
    write(&folder.join(PUBLIC), "PUBLIC KEY", public.as_ref(), 0o644)?;
    write(&path, "PRIVATE KEY", private.as_ref(), 0o600)?;
    Ok(pair)
}

/// Writes a whole file or none.
fn write(path: &Path, label: &str, der: &[u8], mode: u32) -> Result<(), KeysError> {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    let new = path.with_extension("new");
    let written = (|| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    written.map_err(|error| KeysError::File { path: path.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn own_keys_are_made_once_and_the_private_one_is_the_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("keys");
        let first = own(&folder).unwrap();
        let again = own(&folder).unwrap();
        assert_eq!(first.public_key().as_ref(), again.public_key().as_ref());
        let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode(PRIVATE) & 0o777, 0o600);
        let text = std::fs::read_to_string(folder.join(PUBLIC)).unwrap();
        assert_eq!(public(&text).unwrap(), first.public_key().as_ref());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn an_unusable_key_is_named_and_never_shown() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.pem");
        let path = path.display().to_string();
        assert!(private(&path).unwrap_err().to_string().contains("x.pem"));
        for (text, expected) in [
            (
                "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
                "not an RSA key",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "encrypted",
            ),
            ("secret", "no private key"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = private(&path).map(drop).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains("c2VjcmV0"), "{message}");
            assert!(public(&path).is_err());
        }
    }
}
