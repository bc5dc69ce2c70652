//! Text from a server on the user's terminal: it may be read, never obeyed.

/// Whether a terminal could take the character as a command: C0 and C1 controls and DEL, newline and tab excepted.
fn drives_terminal(character: char) -> bool {
    character.is_control() && character != '\n' && character != '\t'
}

/// The text without characters that drive a terminal. What followed an escape character stays, as plain text.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars().filter(|character| !drives_terminal(*character)).collect()
}

/// The beginning of a text as one line: controls become spaces, at most `limit` characters.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line: String =
        text.chars().take(limit).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}

/// JSON text in which every character that drives a terminal is escaped; the value is the same. (Between its values a JSON
/// text of ours has no such character, inside strings serde_json escapes C0 already but neither DEL nor C1.)
#[must_use]
pub fn harmless_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if drives_terminal(character) {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}31mc\u{7f}\r\u{8}d\n\te"), "a[2Jb31mcd\n\te");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in ["äöü ñ 日本語 🦀 שלום", "tab\tnewline\n", ""] {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[0mc", 100), "a b [0mc");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({"a": "\u{9b}31m \u{7f} \u{1b} ä"});
        let safe = harmless_json(&value.to_string());
        assert!(!safe.chars().any(drives_terminal));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
