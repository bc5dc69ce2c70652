//! Lines of a list: `dir`, `nod` and `file`, in the order of columns the kernel's own `gen_init_cpio` uses.

use crate::list::{Entry, Kind};

/// Longest path in bytes; the longest in use is a fraction of it.
const PATH_BYTES: usize = 128;

/// A line that cannot stand in a list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The first word is none of `dir`, `nod`, `file`.
    #[error("unknown kind of entry")]
    Kind,
    /// Too few or too many words.
    #[error("wrong number of columns")]
    Columns,
    /// Not an absolute path of plain names: letters, digits, `.`, `-`, `_`; no `.` or `..` component, no trailing slash.
    #[error("path is not absolute and plain")]
    Path,
    /// Not octal, above 1777, or with a set-id bit.
    #[error("mode is not an octal number of at most 1777")]
    Mode,
    /// User or group is not 0.
    #[error("owner is not root")]
    Owner,
    /// Not `c MAJOR MINOR`.
    #[error("device is not a character device with two numbers")]
    Device,
    /// Not `${NAME}`.
    #[error("content is not of the form ${{NAME}}")]
    Content,
}

/// The entries of a text, in its order.
pub(crate) fn lines(text: &str) -> Result<Vec<(String, Entry)>, ParseError> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        entries.push(entry(&words).map_err(|reason| ParseError { line: index + 1, reason })?);
    }
    Ok(entries)
}

fn entry(words: &[&str]) -> Result<(String, Entry), Reason> {
    match *words {
        ["dir", name, mode, uid, gid] => common(name, mode, uid, gid, Kind::Directory),
        ["nod", name, mode, uid, gid, kind, major, minor] => {
            if kind != "c" {
                return Err(Reason::Device);
            }
            common(name, mode, uid, gid, Kind::CharacterDevice { major: number(major)?, minor: number(minor)? })
        }
        ["file", name, content, mode, uid, gid] => {
            common(name, mode, uid, gid, Kind::File { content: placeholder(content)? })
        }
        ["dir" | "nod" | "file", ..] => Err(Reason::Columns),
        _ => Err(Reason::Kind),
    }
}

fn common(name: &str, mode: &str, uid: &str, gid: &str, kind: Kind) -> Result<(String, Entry), Reason> {
    if (uid, gid) != ("0", "0") {
        return Err(Reason::Owner);
    }
    Ok((path(name)?, Entry { kind, mode: permissions(mode)? }))
}

fn path(text: &str) -> Result<String, Reason> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let relative = text.strip_prefix('/').ok_or(Reason::Path)?;
    let good = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(plain);
    if text.len() > PATH_BYTES || !relative.split('/').all(good) {
        return Err(Reason::Path);
    }
    Ok(text.to_owned())
}

/// The sticky bit is allowed (a shared /tmp), set-user-id and set-group-id are not.
fn permissions(text: &str) -> Result<u32, Reason> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::Mode);
    }
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o1777).ok_or(Reason::Mode)
}

/// Device numbers as the archive can carry them and the kernel's `dev_t` splits them: 12 bits.
fn number(text: &str) -> Result<u32, Reason> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::Device);
    }
    text.parse().ok().filter(|number| *number < 4096).ok_or(Reason::Device)
}

fn placeholder(text: &str) -> Result<String, Reason> {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).ok_or(Reason::Content)?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        return Err(Reason::Content);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(line: &str) -> Reason {
        lines(line).unwrap_err().reason
    }

    #[test]
    fn each_kind_of_line_is_read() {
        let text = "# comment\n\ndir /d 0755 0 0\nnod /c 0600 0 0 c 5 1\nfile /f ${F} 1777 0 0\n";
        let expected = vec![
            ("/d".to_owned(), Entry { kind: Kind::Directory, mode: 0o755 }),
            ("/c".to_owned(), Entry { kind: Kind::CharacterDevice { major: 5, minor: 1 }, mode: 0o600 }),
            ("/f".to_owned(), Entry { kind: Kind::File { content: "F".into() }, mode: 0o1777 }),
        ];
        assert_eq!(lines(text), Ok(expected));
    }

    #[test]
    fn error_names_the_line() {
        assert_eq!(lines("dir /a 0755 0 0\n\ndir b 0755 0 0\n"), Err(ParseError { line: 3, reason: Reason::Path }));
    }

    #[test]
    fn unknown_kinds_are_refused() {
        assert_eq!(reason("slink /a /b 0777 0 0"), Reason::Kind);
        assert_eq!(reason("pipe /a 0600 0 0"), Reason::Kind);
    }

    #[test]
    fn a_time_has_no_column() {
        assert_eq!(reason("dir /a 0755 0 0 1700000000"), Reason::Columns);
        assert_eq!(reason("file /a ${A} 0755 0 0 1700000000"), Reason::Columns);
        assert_eq!(reason("dir /a 0755"), Reason::Columns);
    }

    #[test]
    fn paths_that_are_not_plain_are_refused() {
        for path in ["a", "/", "/a/", "//a", "/a//b", "/.", "/a/../b", "/a/./b", "/ä", "/a\u{7f}", "/a\\b"] {
            assert_eq!(reason(&format!("dir {path} 0755 0 0")), Reason::Path, "{path}");
        }
        assert_eq!(reason(&format!("dir /{} 0755 0 0", "x".repeat(PATH_BYTES))), Reason::Path);
    }

    #[test]
    fn set_id_bits_and_odd_modes_are_refused() {
        for mode in ["4755", "2755", "2000", "0789", "+755", "-1", "0x1ff", "77777777777777"] {
            assert_eq!(reason(&format!("dir /a {mode} 0 0")), Reason::Mode, "{mode}");
        }
    }

    #[test]
    fn owners_other_than_root_are_refused() {
        assert_eq!(reason("dir /a 0755 1 0"), Reason::Owner);
        assert_eq!(reason("file /a ${A} 0755 0 1000"), Reason::Owner);
    }

    #[test]
    fn block_devices_and_wild_numbers_are_refused() {
        assert_eq!(reason("nod /a 0600 0 0 b 8 0"), Reason::Device);
        assert_eq!(reason("nod /a 0600 0 0 c 5 x"), Reason::Device);
        assert_eq!(reason("nod /a 0600 0 0 c 4096 1"), Reason::Device);
    }

    #[test]
    fn content_must_be_a_name_not_a_path() {
        for content in ["/etc/passwd", "${}", "${a}", "$X", "${X"] {
            assert_eq!(reason(&format!("file /a {content} 0755 0 0")), Reason::Content, "{content}");
        }
    }
}
