//! The set that makes a message count once.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest as _, Sha256};

/// 16 bytes that stand for a message that opened.
type Mark = [u8; 16];

/// What was accepted under a key, for the key's whole life: no clock, no expiry.
///
/// Marks are digests keyed with a secret of the set, so that nobody can aim at another's mark or at a place in the table.
pub struct ReplaySet {
    secret: zeroize::Zeroizing<[u8; 32]>,
    marks: HashSet<Mark, BuildHasherDefault<FirstBytes>>,
    capacity: usize,
}

/// Why a message does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Seen {
    /// The same message was accepted before.
    #[error("the message was accepted before")]
    Before,
    /// The set holds as many marks as it may: the epoch has to change before it accepts more.
    #[error("the set of accepted messages is full")]
    Full,
}

impl ReplaySet {
    /// An empty set that holds up to `capacity` marks, with 32 random bytes. A mark takes 19 to 39 bytes: a place of the table has 17, and
    /// the table, which doubles, is at most seven eighths full.
    #[must_use]
    pub fn new(capacity: usize, secret: [u8; 32]) -> Self {
        Self { secret: zeroize::Zeroizing::new(secret), marks: HashSet::default(), capacity }
    }

    /// Accepts `message`, an encapsulated key or a request's id, once. `wire` keeps wires apart that share a set.
    ///
    /// Only what opened may come here: otherwise a stranger could fill the set.
    ///
    /// # Errors
    /// [`Seen`].
    pub fn accept(&mut self, wire: &str, message: &[u8]) -> Result<(), Seen> {
        let mark = self.mark(wire, message);
        if self.marks.contains(&mark) {
            return Err(Seen::Before);
        }
        if self.marks.len() >= self.capacity {
            return Err(Seen::Full);
        }
        self.marks.insert(mark);
        Ok(())
    }

    /// How many messages were accepted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether no message was accepted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn mark(&self, wire: &str, message: &[u8]) -> Mark {
        let mut hash = Sha256::new();
        hash.update(self.secret.as_slice());
        hash.update(Sha256::digest(wire));
        hash.update(message);
        let digest: [u8; 32] = hash.finalize().into();
        let mut mark = [0; 16];
        mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        mark
    }
}

/// A mark is a hash already: its first 8 bytes choose its place.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // the standard library writes a length before the mark; the last one counts
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_once_on_its_wire() {
        let mut set = ReplaySet::new(10, [1; 32]);
        assert!(set.is_empty());
        assert_eq!(set.accept("ohttp", b"enc"), Ok(()));
        assert_eq!(set.accept("ohttp", b"enc"), Err(Seen::Before));
        assert_eq!(set.accept("ohttp", b"end"), Ok(()));
        assert_eq!(set.accept("envelope", b"enc"), Ok(()));
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn a_full_set_accepts_nothing_more_and_still_knows_what_it_saw() {
        let mut set = ReplaySet::new(100, [1; 32]);
        for number in 0..100_u8 {
            assert_eq!(set.accept("w", &[number]), Ok(()));
        }
        assert_eq!(set.accept("w", &[100]), Err(Seen::Full));
        assert_eq!(set.accept("w", &[5]), Err(Seen::Before));
        assert_eq!(set.len(), 100);
    }
}
