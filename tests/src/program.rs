//! The programs under test, as built beside the test binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Path of a program of this workspace.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("the test binary has a path");
    let path = here.parent().and_then(Path::parent).expect("it lies in deps/").join(name);
    assert!(path.is_file(), "{} is not built: run `cargo build --release --workspace`", path.display());
    path
}

/// The image that the tests boot.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn image() -> PathBuf {
    let path = root().join("out/lethe.efi");
    assert!(path.is_file(), "{} is not built: run `lethe-image build`", path.display());
    path
}

/// The image with some bytes behind its end, written into this directory: they start nothing and are measured.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn other_image(directory: &Path) -> PathBuf {
    let mut bytes = std::fs::read(image()).expect("the image is readable");
    bytes.extend_from_slice(&[0; 8]);
    let path = directory.join("other.efi");
    std::fs::write(&path, bytes).expect("the image is written");
    path
}

/// The model with random weights that lies in the tree.
#[must_use]
pub fn tiny_model() -> PathBuf {
    root().join("tests/models/tiny-random-llama.gguf")
}

/// SmolLM2, which `scripts/fetch-model` brings.
///
/// # Panics
/// When `LETHE_MODEL` does not name it.
#[must_use]
pub fn real_model() -> PathBuf {
    std::env::var_os("LETHE_MODEL")
        .map(PathBuf::from)
        .expect("LETHE_MODEL names no model: set it to what scripts/fetch-model prints")
}

/// Runs a program of this workspace to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program(name)).args(arguments).output();
    output.unwrap_or_else(|error| panic!("cannot start {name}: {error}"))
}
