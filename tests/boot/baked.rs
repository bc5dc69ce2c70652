//! An image with its deployment document inside: it needs none from outside, and takes none.
#![allow(clippy::expect_used, reason = "all of this package is test code: what cannot go on says why and ends")]

use std::path::PathBuf;

use lethe_tests::guest::Plan;
use lethe_tests::{document, program};

/// `lethe-image build --config` of a document for the tiny model.
fn baked() -> PathBuf {
    let path = program::root().join("out/baked/lethe.efi");
    assert!(path.is_file(), "{} is not built: see `image` in scripts/test", path.display());
    path
}

#[test]
fn the_document_inside_is_served() {
    let mut guest = Plan::new(&baked(), &program::tiny_model(), None).start();
    let stage = guest.line("lethe: stage document ");
    assert!(stage.contains("source=image"), "{stage}");
    guest.line("lethe: ready ");
}

#[test]
fn a_second_document_from_outside_is_refused() {
    let outside = document::for_model(&program::tiny_model(), "");
    let console = Plan::new(&baked(), &program::tiny_model(), Some(outside.as_bytes())).start().off();
    assert!(console.contains("lethe: refused: document-ambiguous "), "{console}");
    assert!(!console.contains("lethe: ready"), "{console}");
}
