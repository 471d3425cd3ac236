//! Hashing and checking passwords (argon2id, RFC 9106), and making one where none was given.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// The system gave no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// The hash function refused.
    #[error("the password could not be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

/// Letters of generated passwords: none that look alike.
const LETTERS: &[u8; 56] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The hash of `password` as a PHC string.
///
/// # Errors
/// No randomness for the salt, or a password longer than the function takes (4 GiB).
pub(crate) fn hash(password: &str) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(PasswordError::Random)?;
    let salt = SaltString::encode_b64(&salt).map_err(PasswordError::Hash)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(PasswordError::Hash)
}

/// Whether `password` has this hash. The comparison takes the same time wherever they differ.
#[must_use]
pub(crate) fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// A password of 24 letters (139 bits).
///
/// # Errors
/// No randomness from the system.
pub(crate) fn generate() -> Result<String, PasswordError> {
    let mut password = String::with_capacity(24);
    while password.len() < 24 {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(PasswordError::Random)?;
        // bytes above the largest multiple of the alphabet are dropped, so that each letter is as likely
        let fair =
            bytes.iter().filter(|byte| usize::from(**byte) < 256 / LETTERS.len() * LETTERS.len());
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        password.extend(letters.take(24 - password.len()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_its_own_hash_and_no_other() {
        let hashed = hash("correct horse").unwrap();
        assert!(hashed.starts_with("$argon2id$"));
        assert!(verify("correct horse", &hashed));
        assert!(!verify("correct horsf", &hashed));
        assert!(!verify("correct horse", "not a hash"));
        assert_ne!(hashed, hash("correct horse").unwrap());
    }

    #[test]
    fn generated_passwords_are_long_and_different() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.len(), 24);
        assert_ne!(one, two);
        assert!(one.bytes().all(|byte| LETTERS.contains(&byte)));
    }
}
