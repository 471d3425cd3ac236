//! Random numbers from the operating system: pauses that do not line up, and passwords.

use std::time::Duration;

/// Letters and digits without those that look alike; 32 of them are 185 bits.
const ALPHABET: &[u8; 56] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz2345679";

/// A duration between the two, evenly distributed. Without randomness from the system it is the middle.
#[must_use]
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    let part = getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX));
    low + high.saturating_sub(low).mul_f64(part)
}

/// A password of this many characters.
///
/// # Errors
/// When the operating system gives no randomness.
pub(crate) fn password(length: usize) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        // bytes past the last whole multiple of the alphabet would favour its start
        let fair =
            bytes.iter().filter(|byte| usize::from(**byte) < 256 / ALPHABET.len() * ALPHABET.len());
        let letters = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_their_length_and_differ() {
        let (one, two) = (password(32).unwrap(), password(32).unwrap());
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn durations_stay_between() {
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(2));
        for _ in 0..100 {
            let some = between(low, high);
            assert!((low..=high).contains(&some), "{some:?}");
        }
    }
}
