//! Transcripts: what was asked, what was answered, the receipt, and the evidence behind its key.

use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use protocol::Sha256Digest;

use crate::error::UsageError;

/// Transcripts of one name that are kept.
const MAX_SAME_NAME: usize = 1000;

/// A folder of transcripts. The folder is made for its owner alone, and so is every file in it.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Transcript<'a> {
    /// Name of the receipt, if there is one.
    pub id: Option<&'a str>,
    /// The request's body.
    pub request: &'a [u8],
    /// The answer's body.
    pub response: &'a [u8],
    /// The receipt, good or bad.
    pub receipt: Option<&'a [u8]>,
    /// Digest of the keyset, and the bundle that proves it.
    pub bundle: Option<(Sha256Digest, &'a str)>,
}

impl Archive {
    /// A folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`UsageError::File`].
    pub fn open(folder: &Path) -> Result<Self, UsageError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| UsageError::File { what: "make", path: folder.display().to_string(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a transcript, over nothing that is there: `NAME.request`, `NAME.response`, `NAME.receipt`, and `keyset-DIGEST.bundle`, once for each keyset.
    ///
    /// # Errors
    /// [`UsageError::File`].
    pub fn save(&self, transcript: &Transcript<'_>) -> Result<(), UsageError> {
        let given = transcript.id.filter(|id| is_name(id)).map_or_else(|| nameless(transcript), str::to_owned);
        let name = self.begin(&given, transcript.request)?;
        self.write(&format!("{name}.response"), transcript.response)?;
        if let Some(receipt) = transcript.receipt {
            self.write(&format!("{name}.receipt"), receipt)?;
        }
        if let Some((keyset, bundle)) = &transcript.bundle {
            let digest = hex::encode(keyset.0);
            let name = format!("keyset-{}.bundle", digest.get(..16).unwrap_or(&digest));
            match self.make(&name, bundle.as_bytes()) {
                // an answer before this one, or beside it, has brought it
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|source| self.failed(&name, source))?,
            }
        }
        Ok(())
    }

    /// Writes the request under a name that is not taken: the name is the appliance's choice, and one that comes twice must not
    /// put an answer in the place of another.
    fn begin(&self, given: &str, request: &[u8]) -> Result<String, UsageError> {
        for count in 1..=MAX_SAME_NAME {
            let name = if count == 1 { given.to_owned() } else { format!("{given}-{count}") };
            match self.make(&format!("{name}.request"), request) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|()| name).map_err(|source| self.failed(given, source)),
            }
        }
        Err(self.failed(given, io::ErrorKind::AlreadyExists.into()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UsageError> {
        self.make(name, bytes).map_err(|source| self.failed(name, source))
    }

    /// A whole new file or none.
    fn make(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // made with mode 0600
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist_noclobber(self.folder.join(name)).map(drop).map_err(|refused| refused.error)
    }

    fn failed(&self, name: &str, source: io::Error) -> UsageError {
        UsageError::File { what: "write", path: self.folder.join(name).display().to_string(), source }
    }
}

/// Whether a receipt's name can be part of a path, here and at the appliance.
pub(super) fn is_name(id: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&id.len()) && id.bytes().all(letter)
}

/// A name for an exchange without a receipt.
fn nameless(transcript: &Transcript<'_>) -> String {
    let digest = Sha256Digest::of(&[transcript.request, b"\0", transcript.response].concat());
    let digest = hex::encode(digest.0);
    format!("without-receipt-{}", digest.get(..16).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn transcripts_are_for_their_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let archive = Archive::open(&place.path().join("a/b")).unwrap();
        assert_eq!(mode(archive.folder()), 0o700);
        let digest = Sha256Digest::of(b"keyset");
        let transcript = Transcript {
            id: Some("rcpt-1"),
            request: b"?",
            response: b"!",
            receipt: Some(b"{}"),
            bundle: Some((digest, "bundle")),
        };
        archive.save(&transcript).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(archive.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 4);
        assert!(names.iter().all(|path| mode(path) == 0o600));
        assert_eq!(std::fs::read(archive.folder().join("rcpt-1.response")).unwrap(), b"!");
        // An answer that comes under the name of an earlier one stands beside it.
        archive.save(&Transcript { response: b"another", ..transcript }).unwrap();
        assert_eq!(std::fs::read(archive.folder().join("rcpt-1.response")).unwrap(), b"!");
        assert_eq!(std::fs::read(archive.folder().join("rcpt-1-2.response")).unwrap(), b"another");
    }

    #[test]
    fn a_name_of_the_server_is_never_a_path() {
        let place = tempfile::tempdir().unwrap();
        let archive = Archive::open(&place.path().join("inside")).unwrap();
        for id in ["../outside", "a/b", "", ".", "a\0b", &"a".repeat(200)] {
            let transcript = Transcript { id: Some(id), request: b"", response: b"", receipt: None, bundle: None };
            archive.save(&transcript).unwrap();
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(
            std::fs::read_dir(archive.folder())
                .unwrap()
                .all(|entry| { entry.unwrap().file_name().to_str().unwrap().starts_with("without-receipt-") })
        );
    }

    #[test]
    fn answers_that_end_together_bring_the_same_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        let start = std::sync::Barrier::new(16);
        let save = |number: u8| {
            let bundle = Some((Sha256Digest::of(b"keyset"), "the same bundle"));
            start.wait();
            let name = format!("rcpt-{number}");
            let transcript = Transcript { id: Some(&name), request: b"q", response: b"a", receipt: None, bundle };
            archive.save(&transcript)
        };
        std::thread::scope(|scope| {
            let saving: Vec<_> = (0..16)
                .map(|number| {
                    scope.spawn({
                        let save = &save;
                        move || save(number)
                    })
                })
                .collect();
            for saved in saving {
                assert!(saved.join().unwrap().is_ok());
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 16 * 2 + 1);
    }
}
