//! Public keys as `SubjectPublicKeyInfo`, DER.
//!
//! Source: RFC 5480 (elliptic curves), RFC 3279 and RFC 8017 (RSA).

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 0x04 … } }` up to the coordinates.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// `SEQUENCE { rsaEncryption, NULL }`.
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A point of P-256; nothing for coordinates longer than the field.
pub(super) fn p256(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = P256_PREFIX.to_vec();
    for coordinate in [x, y] {
        let padding = 32_usize.checked_sub(coordinate.len())?;
        bytes.resize(bytes.len() + padding, 0);
        bytes.extend_from_slice(coordinate);
    }
    Some(bytes)
}

/// A modulus and an exponent; nothing for a modulus without a set top bit.
pub(super) fn rsa(modulus: &[u8], exponent: u32) -> Option<Vec<u8>> {
    if modulus.first().is_none_or(|first| *first < 0x80) {
        return None;
    }
    let exponent = exponent.to_be_bytes();
    let leading = exponent.iter().take_while(|byte| **byte == 0).count();
    let key = [integer(modulus)?, integer(exponent.get(leading..)?)?].concat();
    let key = [vec![0], element(SEQUENCE, &key)?].concat();
    element(SEQUENCE, &[RSA_ALGORITHM.to_vec(), element(BIT_STRING, &key)?].concat())
}

/// A positive number: a zero in front where the top bit is set.
fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let sign = if *bytes.first()? >= 0x80 { [0].as_slice() } else { &[] };
    element(INTEGER, &[sign, bytes].concat())
}

fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    let mut bytes = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend_from_slice(content);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_coordinates_are_padded_and_long_ones_refused() {
        let key = p256(&[1], &[2; 32]).unwrap();
        assert_eq!(key.len(), 91);
        assert_eq!(key[27..58], [0; 31]);
        assert_eq!(key[58], 1);
        assert!(p256(&[0; 33], &[2; 32]).is_none());
    }

    #[test]
    fn an_rsa_key_has_the_lengths_that_its_parts_need() {
        let key = rsa(&[0xFF; 256], 65537).unwrap();
        assert_eq!(key.len(), 294, "as openssl writes a key of 2048 bits");
        assert_eq!(key[..4], [0x30, 0x82, 0x01, 0x22]);
        assert_eq!(key[key.len() - 5..], [0x02, 0x03, 0x01, 0x00, 0x01]);
        assert!(rsa(&[0x7F; 256], 65537).is_none());
        assert!(rsa(&[], 65537).is_none());
    }
}
