//! Documents and files for the tests of this folder.

use deployment::Document;
use sha2::{Digest as _, Sha256};

pub(super) fn document(model: &[u8], tail: &str) -> Document {
    let text = format!(
        "version = 1\n[model]\nname = \"tiny\"\nsha256 = \"{}\"\nsize_bytes = {}\n[clients]\naccess = \"anyone\"\n{tail}",
        hex::encode(Sha256::digest(model)),
        model.len()
    );
    deployment::parse(text.as_bytes()).unwrap()
}

pub(super) fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}
