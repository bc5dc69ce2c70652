//! A checked list of file system entries.

use std::collections::BTreeMap;

use crate::parse::{self, ParseError};

/// One entry of the file system; its path is the key in [`List`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the entry is.
    pub kind: Kind,
    /// Permission bits, at most `0o1777`.
    pub mode: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A regular file whose bytes the builder supplies under this name.
    File {
        /// Name between `${` and `}`.
        content: String,
    },
}

/// Why lines that are each right make no file system.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A line is wrong by itself.
    #[error("bad initramfs list")]
    Line(#[from] ParseError),
    /// Two lines say the same path.
    #[error("path {0} stands in the list twice")]
    Duplicate(String),
    /// No line makes the directory an entry lies in.
    #[error("{path} has no parent directory in the list")]
    NoParent {
        /// The entry.
        path: String,
    },
    /// The line of the parent makes something other than a directory.
    #[error("the parent of {path} is not a directory")]
    ParentNotDirectory {
        /// The entry.
        path: String,
    },
    /// A list without a line would boot nothing.
    #[error("the list is empty")]
    Empty,
}

/// A file system without contradictions: every path once, every parent a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    entries: BTreeMap<String, Entry>,
}

impl List {
    /// Reads several texts as one list; the order of lines does not matter.
    ///
    /// # Errors
    /// [`ListError`] names the first line or path that is wrong.
    pub fn parse(texts: &[&str]) -> Result<Self, ListError> {
        let mut entries = BTreeMap::new();
        for text in texts {
            for (path, entry) in parse::lines(text)? {
                if entries.insert(path.clone(), entry).is_some() {
                    return Err(ListError::Duplicate(path));
                }
            }
        }
        if entries.is_empty() {
            return Err(ListError::Empty);
        }
        let list = Self { entries };
        list.check_parents()?;
        Ok(list)
    }

    /// Every path (absolute) with its entry, in byte order of the paths, which puts a directory before what it holds.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    fn check_parents(&self) -> Result<(), ListError> {
        for path in self.entries.keys() {
            match path.rsplit_once('/') {
                None | Some(("", _)) => {} // directly below the root, which always exists
                Some((parent, _)) => match self.entries.get(parent).map(|entry| &entry.kind) {
                    Some(Kind::Directory) => {}
                    Some(_) => return Err(ListError::ParentNotDirectory { path: path.clone() }),
                    None => return Err(ListError::NoParent { path: path.clone() }),
                },
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> ListError {
        List::parse(&[text]).unwrap_err()
    }

    #[test]
    fn reviewed_lists_make_a_file_system_with_one_program() {
        let list = List::parse(&[crate::BASE, crate::DOCUMENT]).unwrap();
        let programs: Vec<&str> = list
            .entries()
            .filter(|(_, entry)| matches!(entry.kind, Kind::File { .. }) && entry.mode & 0o111 != 0)
            .map(|(path, _)| path)
            .collect();
        assert_eq!(programs, ["/init"]);
    }

    #[test]
    fn parents_come_before_children_whatever_the_order_of_lines() {
        let list =
            List::parse(&["nod /dev/console 0600 0 0 c 5 1\ndir /dev-old 0755 0 0\ndir /dev 0755 0 0\n"]).unwrap();
        assert_eq!(list.entries().map(|(path, _)| path).collect::<Vec<_>>(), ["/dev", "/dev-old", "/dev/console"]);
    }

    #[test]
    fn path_given_twice_is_refused_even_across_texts() {
        assert_eq!(refusal("dir /a 0755 0 0\ndir /a 0755 0 0\n"), ListError::Duplicate("/a".into()));
        assert_eq!(List::parse(&["dir /a 0755 0 0\n", "dir /a 0555 0 0\n"]), Err(ListError::Duplicate("/a".into())));
    }

    #[test]
    fn missing_parent_is_refused() {
        assert_eq!(refusal("file /etc/x ${X} 0444 0 0\n"), ListError::NoParent { path: "/etc/x".into() });
    }

    #[test]
    fn parent_that_is_a_file_is_refused() {
        assert_eq!(
            refusal("file /etc ${X} 0444 0 0\ndir /etc/x 0555 0 0\n"),
            ListError::ParentNotDirectory { path: "/etc/x".into() }
        );
    }

    #[test]
    fn list_of_comments_is_refused() {
        assert_eq!(refusal("# nothing\n\n"), ListError::Empty);
    }
}
