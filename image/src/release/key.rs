//! The secret key of a signer: a file of one line, `PRIVATE+KEY+NAME+ID+BASE64`, that only its owner may read.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use measurements::release::signed_note::{ED25519, NoteError, SignedNote, VerifierKey};
use zeroize::Zeroizing;

use crate::report::advise;

const MARK: &str = "PRIVATE+KEY+";
/// A key file with the longest name is shorter.
const LIMIT: usize = 1024;
/// Bytes of an Ed25519 secret.
const SECRET: usize = 32;

/// A secret key with its name; wiped when it is dropped.
pub(super) struct SignerKey {
    secret: SigningKey,
    public: VerifierKey,
}

impl SignerKey {
    /// A new key from the kernel's random bytes.
    pub(super) fn generate(name: &str) -> anyhow::Result<Self> {
        let mut secret = Zeroizing::new([0; SECRET]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        Ok(Self::of(name, &secret)?)
    }

    fn of(name: &str, secret: &[u8; SECRET]) -> Result<Self, NoteError> {
        let secret = SigningKey::from_bytes(secret);
        let public = VerifierKey::new(name, secret.verifying_key())?;
        Ok(Self { secret, public })
    }

    /// What others check the signatures with.
    pub(super) fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// Adds its signature to a note.
    pub(super) fn sign(&self, note: &mut SignedNote) -> Result<(), NoteError> {
        let signature = self.secret.sign(note.text().as_bytes());
        note.add(&self.public, &signature.to_bytes())
    }

    /// Reads a key file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let text = read_private(path)?;
        parse(&text).with_context(|| {
            advise(format!("{name} is no secret key of a signer"), "make one with `lethe-image release keygen`")
        })
    }

    /// Writes a key file that only its owner may read. A file that is there already is left as it is.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || {
            let help = "name a file that does not exist yet, in a folder that does";
            advise(format!("cannot write the key file {}", path.display()), help)
        };
        let line = self.line();
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().with_context(failed)
    }

    fn line(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([ED25519; SECRET + 1]);
        for (place, byte) in bytes.iter_mut().skip(1).zip(Zeroizing::new(self.secret.to_bytes()).iter()) {
            *place = *byte;
        }
        // Room for everything at once: a string that grows leaves its old contents behind.
        let mut line = Zeroizing::new(String::with_capacity(LIMIT));
        for part in [MARK, self.public.name(), "+", &hex::encode(self.public.id()), "+"] {
            line.push_str(part);
        }
        STANDARD.encode_string(bytes.as_slice(), &mut line);
        line.push('\n');
        line
    }
}

fn parse(text: &[u8]) -> anyhow::Result<SignerKey> {
    let malformed = || anyhow::anyhow!("not of the form {MARK}NAME+ID+BASE64");
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let mut parts = line.strip_prefix(MARK).with_context(malformed)?.splitn(3, '+');
    let (Some(name), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        anyhow::bail!(malformed());
    };
    let mut bytes = Zeroizing::new([0; SECRET + 3]);
    let length = STANDARD.decode_slice(secret, bytes.as_mut_slice()).map_err(|_| malformed())?;
    let (Some(&ED25519), Some(secret)) = (bytes.first(), bytes.get(1..length)) else { anyhow::bail!(malformed()) };
    let key = SignerKey::of(name, secret.try_into().map_err(|_| malformed())?)?;
    ensure!(hex::encode(key.public.id()) == id, NoteError::KeyId);
    Ok(key)
}

/// Reads a small file that belongs to this user and that nobody else may read.
fn read_private(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let name = path.display();
    let failed = || advise(format!("cannot read the key file {name}"), "make one with `lethe-image release keygen`");
    let file = File::open(path).with_context(failed)?;
    // Of the open file: its name could lead elsewhere a moment later.
    let about = file.metadata().with_context(failed)?;
    ensure!(about.is_file(), advise(format!("{name} is no file"), "name the file of the secret key"));
    ensure!(
        about.mode() & 0o077 == 0,
        advise(
            format!(
                "others than its owner may read or change the key file {name} (mode {:04o})",
                about.mode() & 0o7777
            ),
            format!("take a new key if somebody did; otherwise: chmod 600 {name}")
        )
    );
    ensure!(
        about.uid() == rustix::process::geteuid().as_raw(),
        advise(format!("the key file {name} belongs to another user"), "sign with a key of your own")
    );
    // Room for everything at once: a buffer that grows leaves its old contents behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    file.take(LIMIT as u64 + 1).read_to_end(&mut text).with_context(failed)?;
    ensure!(
        text.len() <= LIMIT,
        advise(format!("{name} is too large for a key file"), "name the file of the secret key")
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// The example of Go's package golang.org/x/mod/sumdb/note.
    const SECRET_KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\n";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem \
                        is.\n\n— PeterNeumann \
                        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn signature_and_note_are_those_of_another_implementation() {
        let key = parse(SECRET_KEY.as_bytes()).unwrap();
        assert_eq!(key.public().to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        assert_eq!(key.line().as_str(), SECRET_KEY);
        let mut note = SignedNote::unsigned(NOTE.split_once("\n\n").unwrap().0.to_owned().as_str());
        assert_eq!(note, Err(NoteError::Text), "a text ends with a line feed");
        note = SignedNote::unsigned(&NOTE[..=NOTE.find("\n\n").unwrap()]);
        let mut note = note.unwrap();
        key.sign(&mut note).unwrap();
        assert_eq!(note.render(), NOTE);
    }

    #[test]
    fn a_key_is_what_it_was_after_it_was_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.key");
        let key = SignerKey::generate("example.org/lethe").unwrap();
        key.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SignerKey::read(&path).unwrap().public(), key.public());
        let before = std::fs::read(&path).unwrap();
        assert!(SignerKey::generate("other").unwrap().write(&path).is_err(), "a key is never overwritten");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_file_that_others_may_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.key");
        SignerKey::generate("example.org/lethe").unwrap().write(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = SignerKey::read(&path).err().unwrap().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(SignerKey::read(&path).is_ok());
        assert!(SignerKey::read(folder.path()).is_err());
    }

    #[test]
    fn other_lines_are_no_keys() {
        for text in [
            "",
            "PRIVATE+KEY+",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PRIVATE+KEY+PeterNeumann+c74f20a4+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AoEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKA==",
            "PRIVATE+KEY+Peter Neumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_with_a_space_or_a_plus_is_refused() {
        for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", &"x".repeat(256)] {
            assert!(SignerKey::generate(name).is_err(), "{name:?}");
        }
        let longest = SignerKey::generate(&"x".repeat(255)).unwrap();
        assert!(longest.line().len() < LIMIT);
        assert!(parse(longest.line().as_bytes()).is_ok());
    }
}
