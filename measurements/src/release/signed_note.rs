//! Texts with signatures that others can add theirs to: C2SP `signed-note` with Ed25519.
//!
//! A note is a text, an empty line, and a line `— NAME BASE64` for each signature, where BASE64 holds four bytes that name
//! the key and the signature over the text. Source: <https://c2sp.org/signed-note>; Go's `sumdb/note` is the same format.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

/// More bytes than a release file with many signatures has.
pub const LIMIT: usize = 512 * 1024;
/// More signatures than a release collects.
const SIGNATURES: usize = 100;
/// Longest name of a key, in bytes.
const NAME: usize = 255;
/// Longest signature: more than any algorithm's.
const SIGNATURE: usize = 8 * 1024;
/// What says in a key that it is one of Ed25519.
pub const ED25519: u8 = 1;
/// Starts the line of a signature.
const MARK: &str = "\u{2014} ";

/// What is wrong with a note, a key or the signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`LIMIT`], or more than 100 signatures.
    #[error("a signed note has at most {LIMIT} bytes and {SIGNATURES} signatures")]
    TooLarge,
    /// Something else than lines of UTF-8.
    #[error("a note is lines of UTF-8 text without control characters")]
    Text,
    /// No empty line with signatures behind it.
    #[error("there are no signatures behind the text")]
    Unsigned,
    /// A line behind the text that is no signature.
    #[error("signature line {number} is malformed")]
    Line {
        /// Which one, from 1.
        number: usize,
    },
    /// A name that keys cannot have.
    #[error("the name of a key has up to {NAME} bytes, no space, no '+' and no control character")]
    Name,
    /// Not `NAME+ID+BASE64`.
    #[error("not a public key of the form NAME+ID+BASE64 with a usable Ed25519 key")]
    Key,
    /// The four bytes do not belong to the key.
    #[error("the id in a public key is not that of the key: a mistake in copying?")]
    KeyId,
    /// Two different keys of one name and id.
    #[error("two of the given keys cannot be told apart")]
    Ambiguous,
    /// A threshold of 0, or of more keys than there are.
    #[error("{threshold} signatures cannot be asked of {keys} different keys")]
    Threshold {
        /// What was asked for.
        threshold: usize,
        /// How many different keys were given.
        keys: usize,
    },
    /// A signature that does not belong to text and key.
    #[error("the signature of {name} is wrong: the text was changed, or the signature")]
    Signature {
        /// The key's name, as its owner gave it to the verifier.
        name: String,
    },
    /// Too few signatures of keys that are trusted.
    #[error("signed by {found} of the given keys, and {threshold} are asked for")]
    TooFew {
        /// Good signatures of different keys.
        found: usize,
        /// What was asked for.
        threshold: usize,
    },
}

/// A public key with its name, written as `NAME+ID+BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// From a name and the key.
    ///
    /// # Errors
    /// [`NoteError::Name`] for a bad name, [`NoteError::Key`] for a key under which every text has a valid signature.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        check_name(name)?;
        if key.is_weak() {
            return Err(NoteError::Key);
        }
        let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key).finalize();
        let id = digest.first_chunk().copied().ok_or(NoteError::Key)?;
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: the first four bytes of SHA-256(name ‖ 0x0a ‖ 0x01 ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // BASE64 may have '+' in it, a name may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let mut given = [0; 4];
        hex::decode_to_slice(id, &mut given).map_err(|_| NoteError::Key)?;
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519, key)) = bytes.split_first() else { return Err(NoteError::Key) };
        let key = VerifyingKey::try_from(key).map_err(|_| NoteError::Key)?;
        let key = Self::new(name, key)?;
        if key.id == given { Ok(key) } else { Err(NoteError::KeyId) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A signature, checked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// A text with its signatures, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// A text without signatures.
    ///
    /// # Errors
    /// [`NoteError::Text`], [`NoteError::TooLarge`].
    pub fn unsigned(text: &str) -> Result<Self, NoteError> {
        check_text(text)?;
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`] for anything that is not a text with at least one well-formed signature line.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > LIMIT {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(note).map_err(|_| NoteError::Text)?;
        check_text(note)?;
        // The text may have empty lines of its own: the last one counts.
        let end = note.rfind("\n\n").ok_or(NoteError::Unsigned)? + 1;
        let (text, rest) = note.split_at(end);
        let lines: Vec<&str> = rest.lines().skip(1).collect();
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        if lines.len() > SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        let parsed = (1..).zip(lines).map(|(number, line)| signature(line).ok_or(NoteError::Line { number }));
        Ok(Self { text: text.to_owned(), signatures: parsed.collect::<Result<_, _>>()? })
    }

    /// The text that is signed, with its last line feed. Nothing may be done with it before [`SignedNote::verify`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a signature, as the last line.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if it is not the key's over this text; [`NoteError::TooLarge`].
    pub fn add(&mut self, key: &VerifierKey, signature: &[u8; 64]) -> Result<(), NoteError> {
        let added = Signature { name: key.name.clone(), id: key.id, bytes: signature.to_vec() };
        self.check(key, &added)?;
        self.signatures.push(added);
        if self.signatures.len() > SIGNATURES || self.render().len() > LIMIT {
            self.signatures.pop();
            return Err(NoteError::TooLarge);
        }
        Ok(())
    }

    /// Whether some line says that it is of this key.
    #[must_use]
    pub fn names(&self, key: &VerifierKey) -> bool {
        self.signatures.iter().any(|signature| signature.is_of(key))
    }

    /// How many signature lines there are, of known keys or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Whether nobody signed it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Checks that at least `threshold` different ones of `keys` signed the text, and gives those that did.
    ///
    /// Lines of other keys are ignored. A key counts once, whatever the number of its lines and of its names.
    ///
    /// # Errors
    /// [`NoteError::TooFew`]; [`NoteError::Signature`] if one line of a given key is wrong, whatever the others are;
    /// [`NoteError::Ambiguous`] and [`NoteError::Threshold`] for keys and thresholds that make no sense.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey], threshold: usize) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut distinct: Vec<&VerifierKey> = Vec::new();
        for key in keys {
            let alike = |other: &&VerifierKey| (&other.name, other.id) == (&key.name, key.id) && other.key != key.key;
            if keys.iter().any(|other| alike(&other)) {
                return Err(NoteError::Ambiguous);
            }
            if distinct.iter().all(|other| other.key != key.key) {
                distinct.push(key);
            }
        }
        if threshold == 0 || threshold > distinct.len() {
            return Err(NoteError::Threshold { threshold, keys: distinct.len() });
        }
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for key in keys {
            let mut lines = self.signatures.iter().filter(|signature| signature.is_of(key)).peekable();
            let signed = lines.peek().is_some();
            lines.try_for_each(|line| self.check(key, line))?;
            if signed && signers.iter().all(|other| other.key != key.key) {
                signers.push(key);
            }
        }
        if signers.len() < threshold {
            return Err(NoteError::TooFew { found: signers.len(), threshold });
        }
        Ok(signers)
    }

    fn check(&self, key: &VerifierKey, signature: &Signature) -> Result<(), NoteError> {
        let wrong = || NoteError::Signature { name: key.name.clone() };
        let bytes = ed25519_dalek::Signature::from_slice(&signature.bytes).map_err(|_| wrong())?;
        key.key.verify_strict(self.text.as_bytes(), &bytes).map_err(|_| wrong())
    }

    /// The note as it is written to a file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            let bytes = [signature.id.as_slice(), &signature.bytes].concat();
            note.push_str(&format!("{MARK}{} {}\n", signature.name, STANDARD.encode(bytes)));
        }
        note
    }
}

impl Signature {
    fn is_of(&self, key: &VerifierKey) -> bool {
        (&self.name, self.id) == (&key.name, key.id)
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, text) = line.strip_prefix(MARK)?.split_once(' ')?;
    check_name(name).ok()?;
    if text.len() > SIGNATURE {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    let (id, bytes) = bytes.split_first_chunk()?;
    (!bytes.is_empty()).then(|| Signature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > LIMIT {
        return Err(NoteError::TooLarge);
    }
    let control = text.bytes().any(|byte| byte < b' ' && byte != b'\n');
    if control || !text.ends_with('\n') { Err(NoteError::Text) } else { Ok(()) }
}

/// Whether a key can have this name.
///
/// # Errors
/// [`NoteError::Name`].
pub fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |letter: char| letter == '+' || letter.is_whitespace() || letter.is_control();
    if name.is_empty() || name.len() > NAME || name.contains(bad) { Err(NoteError::Name) } else { Ok(()) }
}
