//! The files a machine boots and reads: they exist, are what they should be, and have a digest.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use deployment::Document;

use crate::digest;
use crate::machine::Error;
use crate::progress::Progress;

/// An absolute path to a regular file.
///
/// # Errors
/// If there is none.
pub fn existing_file(what: &'static str, option: &'static str, path: &Path) -> Result<PathBuf, Error> {
    let input = |reason: String| Error::Input {
        what: format!("{what} {}: {reason}", path.display()),
        help: format!("name it with {option} FILE"),
    };
    let absolute = path.canonicalize().map_err(|error| input(error.to_string()))?;
    if !absolute.is_file() {
        return Err(input("not a file".to_owned()));
    }
    Ok(absolute)
}

/// SHA-256 of the image, once it is known to be an EFI program.
///
/// # Errors
/// If it cannot be read or is something else.
pub fn digest_image(image: &Path) -> Result<String, Error> {
    let mut file = File::open(image).map_err(Error::file("read the image", image))?;
    let mut magic = [0; 2];
    file.read_exact(&mut magic).map_err(Error::file("read the image", image))?;
    if magic != *b"MZ" {
        return Err(Error::Input {
            what: format!("the image {} is no EFI program", image.display()),
            help: "make one with `lethe-image build`".to_owned(),
        });
    }
    digest::hex_of(magic.as_slice().chain(file)).map_err(Error::file("read the image", image))
}

/// SHA-256 of the disk a machine boots from.
///
/// # Errors
/// If it cannot be read.
pub fn digest_disk(disk: &Path, progress: &Progress) -> Result<String, Error> {
    let file = File::open(disk).map_err(Error::file("read the disk", disk))?;
    let length = file.metadata().map_err(Error::file("read the disk", disk))?.len();
    digest::hex_of(progress.reader("Hashing", length, file)).map_err(Error::file("read the disk", disk))
}

/// Compares the model file with the document: its size, then its digest.
///
/// # Errors
/// [`Error::WrongModel`] if the machine would refuse it.
pub fn check_model(path: &Path, document: &Document, progress: &Progress) -> Result<(), Error> {
    let wanted = &document.model;
    let file = File::open(path).map_err(Error::file("read the model", path))?;
    let size = file.metadata().map_err(Error::file("read the model", path))?.len();
    if size < wanted.size_bytes {
        let what = format!("{} has {size} bytes, the document says {}", path.display(), wanted.size_bytes);
        return Err(Error::WrongModel { what });
    }
    let source = progress.reader("Checking", wanted.size_bytes, file.take(wanted.size_bytes));
    let found = digest::hex_of(source).map_err(Error::file("read the model", path))?;
    let expected = hex::encode(wanted.sha256);
    if found == expected {
        Ok(())
    } else {
        let what = format!("{} has SHA-256 {found}, the document says {expected}", path.display());
        Err(Error::WrongModel { what })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::machine::inputs::fixture::{document, file};

    #[test]
    fn the_model_of_the_document_is_accepted_with_any_padding() {
        let model = file(b"weights and padding");
        check_model(model.path(), &document(b"weights", ""), &Progress::silent()).unwrap();
    }

    #[test]
    fn a_shorter_or_different_model_is_refused_before_a_boot() {
        for bytes in [&b"weight"[..], b"weighty", b""] {
            let error = check_model(file(bytes).path(), &document(b"weights", ""), &Progress::silent()).unwrap_err();
            assert!(matches!(error, Error::WrongModel { .. }), "{error}");
        }
    }

    #[test]
    fn an_image_is_an_efi_program() {
        let expected = hex::encode(Sha256::digest(b"MZ and more"));
        assert_eq!(digest_image(file(b"MZ and more").path()).unwrap(), expected);
        assert!(matches!(digest_image(file(b"\x7fELF").path()), Err(Error::Input { .. })));
        assert!(digest_image(file(b"M").path()).is_err());
    }
}
