//! Variable-length integers (RFC 9000 section 16), which Binary HTTP and chunked OHTTP write lengths with.

/// Appends `value` in its shortest form. Lengths of memory are always below 2^62; a larger value is written as 2^62 - 1.
pub(crate) fn put(value: u64, out: &mut Vec<u8>) {
    const MOST: u64 = (1 << 62) - 1;
    let value = value.min(MOST);
    let (length, mark) = match value {
        0..=0x3f => (1, 0),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        _ => (8, 0xc0),
    };
    let bytes = value.to_be_bytes();
    let start = out.len();
    out.extend(bytes.iter().skip(bytes.len() - length));
    if let Some(first) = out.get_mut(start) {
        *first |= mark;
    }
}

/// Appends the length of something in memory.
pub(crate) fn put_len(length: usize, out: &mut Vec<u8>) {
    put(u64::try_from(length).unwrap_or(u64::MAX), out);
}

/// The integer at the start of `bytes` and its length, or `None` where bytes are missing. Longer forms than needed are
/// integers too.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1_usize << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_the_rfc_are_read() {
        let samples: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in samples {
            assert_eq!(read(bytes), Some((value, bytes.len())));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn what_is_written_is_read_and_is_shortest() {
        for (value, length) in [
            (0, 1),
            (0x3f, 1),
            (0x40, 2),
            (0x3fff, 2),
            (0x4000, 4),
            (0x3fff_ffff, 4),
            (0x4000_0000, 8),
            ((1 << 62) - 1, 8),
        ] {
            let mut out = vec![9];
            put(value, &mut out);
            assert_eq!((read(&out[1..]), out.len() - 1), (Some((value, length)), length));
        }
    }
}
