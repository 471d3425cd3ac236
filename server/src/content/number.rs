//! Whole numbers of any size: decimal digits, as JSON has them, and big-endian bytes, as binary formats do.

/// The bytes of an unsigned number in decimal digits; none when there is another character.
pub(super) fn decimal_to_bytes(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::<u8>::new(); // little-endian while it grows
    for digit in digits.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in &mut bytes {
            let value = u32::from(*byte) * 10 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    Some(bytes)
}

/// The decimal digits of an unsigned number.
pub(super) fn bytes_to_decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8]; // little-endian
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

/// Subtracts one; the number must not be zero.
pub(super) fn subtract_one(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().rev() {
        let (value, borrowed) = byte.overflowing_sub(1);
        *byte = value;
        if !borrowed {
            return;
        }
    }
}

/// Adds one.
pub(super) fn add_one(bytes: &mut Vec<u8>) {
    for byte in bytes.iter_mut().rev() {
        let (value, carried) = byte.overflowing_add(1);
        *byte = value;
        if !carried {
            return;
        }
    }
    bytes.insert(0, 1);
}

/// Two's complement of decimal digits with a sign, as short as it can be.
pub(super) fn decimal_to_signed(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = decimal_to_bytes(digits.strip_prefix('-').unwrap_or(digits))?;
    if digits.starts_with('-') {
        // -n is the complement of n - 1
        subtract_one(&mut bytes);
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        if bytes.first().is_none_or(|byte| byte & 0x80 == 0) {
            bytes.insert(0, 0xff);
        }
    } else if bytes.first().is_none_or(|byte| byte & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    Some(bytes)
}

/// Decimal digits with a sign of two's complement.
pub(super) fn signed_to_decimal(bytes: &[u8]) -> String {
    if bytes.first().is_none_or(|byte| byte & 0x80 == 0) {
        return bytes_to_decimal(bytes);
    }
    let mut magnitude: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    add_one(&mut magnitude);
    format!("-{}", bytes_to_decimal(&magnitude))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_survive_both_forms(number: i128) {
            let digits = number.to_string();
            let signed = decimal_to_signed(&digits).unwrap();
            prop_assert_eq!(signed_to_decimal(&signed), digits);
            let magnitude = number.unsigned_abs().to_string();
            prop_assert_eq!(bytes_to_decimal(&decimal_to_bytes(&magnitude).unwrap()), magnitude);
        }

        #[test]
        fn twos_complement_is_what_the_machine_has(number: i64) {
            let mut bytes = decimal_to_signed(&number.to_string()).unwrap();
            let sign = if number < 0 { 0xff } else { 0 };
            while bytes.len() < 8 {
                bytes.insert(0, sign);
            }
            prop_assert_eq!(&bytes[bytes.len() - 8..], &number.to_be_bytes()[..]);
        }
    }
}
