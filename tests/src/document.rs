//! Deployment documents for tests.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// A document for a model file, open to anyone, with extra lines at its top level and tables at its end.
///
/// # Panics
/// When the model cannot be read.
#[must_use]
pub fn for_model(model: &Path, tables: &str) -> String {
    let bytes = fs::read(model).expect("the model is readable");
    with_digest(&Sha256::digest(&bytes).into(), bytes.len() as u64, tables)
}

/// The same with a digest and a size that the caller chooses.
#[must_use]
pub fn with_digest(sha256: &[u8; 32], size: u64, tables: &str) -> String {
    let digest = hex::encode(sha256);
    format!(
        "version = 1\n\n[model]\nname = \"test/model\"\nsha256 = \"{digest}\"\nsize_bytes = {size}\n\n\
         [clients]\naccess = \"anyone\"\n\n{tables}\n"
    )
}
