//! Strings out of a log, made safe to print: bounded, one line, no control characters.

/// More of a string is not shown.
const SHOWN: usize = 120;

/// Printable characters of a string, without NULs at its end; the rest as `\u{…}`.
pub(super) fn printable(text: &str) -> String {
    let text = text.trim_end_matches('\0');
    let mut shown: String = text.chars().take(SHOWN).flat_map(escape).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(character: char) -> Vec<char> {
    // Control characters reach terminals; so do marks that turn the writing direction.
    let harmless = !character.is_control()
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if harmless { vec![character] } else { character.escape_unicode().collect() }
}

/// Bytes as UTF-8 where they are that, else as hexadecimal digits.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.trim_end_matches('\0').contains('\0') => format!("\"{}\"", printable(text)),
        _ => hexadecimal(bytes),
    }
}

/// UTF-16 little-endian text up to its first NUL.
pub(super) fn of_utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        &[low, high] => u16::from_le_bytes([low, high]),
        _ => 0,
    });
    let text = char::decode_utf16(units.take_while(|unit| *unit != 0)).map(|unit| unit.unwrap_or('\u{fffd}'));
    printable(&text.take(SHOWN + 1).collect::<String>())
}

/// Text of either width: UTF-16 where every second byte is zero.
pub(super) fn of_either(bytes: &[u8]) -> String {
    let wide = bytes.len() >= 4
        && bytes.len().is_multiple_of(2)
        && bytes.iter().skip(1).step_by(2).all(|byte| *byte == 0)
        && bytes.first().is_some_and(|byte| *byte != 0);
    if wide { format!("\"{}\"", of_utf16(bytes)) } else { of_bytes(bytes) }
}

/// The first bytes in hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut shown: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 16 {
        shown.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    if shown.is_empty() { "nothing".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_long_texts_never_reach_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable(&"x".repeat(500)).chars().count(), SHOWN + 1);
        assert_eq!(of_utf16(b"S\0e\0\0\0x\0"), "Se");
        assert_eq!(of_either(b".\0l\0i\0n\0u\0x\0\0\0"), "\".linux\"");
        assert_eq!(of_bytes(&[0, 1, 2]), "000102");
        assert_eq!(of_bytes(&[]), "\"\"");
    }
}
