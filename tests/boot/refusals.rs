//! Machines that must refuse to serve: each prints one line with its code and switches itself off, and never listens.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::fs;
use std::net::TcpStream;

use lethe_tests::guest::Plan;
use lethe_tests::{document, program};
use sha2::{Digest as _, Sha256};

/// Boots with these bytes as model disk and document, and demands this refusal.
fn refused(model: &[u8], document: Option<&[u8]>, code: &str, says: &str) {
    let mut plan = Plan::new(&program::image(), &program::tiny_model(), document);
    plan.machine.model = plan.file("model.gguf", model);
    let mut guest = plan.start();
    let console = guest.off();
    let line = console.lines().find(|line| line.starts_with("lethe: refused: "));
    let line = line.unwrap_or_else(|| panic!("no refusal on this console:\n{console}"));
    assert!(line.starts_with(&format!("lethe: refused: {code} ")), "{line}");
    assert!(line.contains(says), "{line} does not say {says:?}");
    assert!(!console.contains("lethe: ready"), "it served before it refused:\n{console}");
    for crash in ["Kernel panic", "backtrace", "panicked", "GGML_ASSERT"] {
        assert!(!console.contains(crash), "{crash} on the console:\n{console}");
    }
    assert!(TcpStream::connect(("127.0.0.1", guest.port)).is_err(), "the port is gone with the machine");
}

fn tiny() -> Vec<u8> {
    fs::read(program::tiny_model()).expect("the tiny model is readable")
}

/// A document whose digest and size fit these bytes, so that only what is wrong with the bytes themselves can refuse them.
fn fitting(bytes: &[u8]) -> String {
    document::with_digest(&Sha256::digest(bytes).into(), bytes.len() as u64, "")
}

fn document_for_tiny(tables: &str) -> String {
    document::for_model(&program::tiny_model(), tables)
}

#[test]
fn a_model_disk_that_is_shorter_than_the_document_says() {
    let model = tiny();
    refused(
        &model[..model.len() - 4096],
        Some(document_for_tiny("").as_bytes()),
        "model-short",
        "the model ends after 126976 bytes, the document says 130912",
    );
}

#[test]
fn a_model_that_differs_by_one_bit_at_its_end() {
    let mut model = tiny();
    *model.last_mut().expect("it has bytes") ^= 1;
    refused(&model, Some(document_for_tiny("").as_bytes()), "model-digest", "the document says");
}

#[test]
fn kernels_that_the_processor_does_not_run() {
    // emulated processors are told to have no AVX
    let document = document_for_tiny("[engine]\nkernels = \"avx512\"\n");
    refused(&tiny(), Some(document.as_bytes()), "engine-kernels", "avx512");
}

#[test]
fn a_cache_that_does_not_fit_into_the_machine() {
    // SmolLM2 keeps 45 KiB for each of 2,048 tokens of 256 sequences, which is 22 GiB, in a machine of one
    let path = program::real_model();
    let document = document::for_model(&path, "[engine]\ncontext_tokens = 2048\nparallel_sequences = 256\n");
    let model = fs::read(path).expect("the model is readable");
    refused(&model, Some(document.as_bytes()), "model-memory", "more bytes of memory");
}

#[test]
fn no_document() {
    refused(&tiny(), None, "document-missing", "opt/lethe/config");
}

#[test]
fn a_document_over_64_kib() {
    let mut document = document_for_tiny("").into_bytes();
    document.resize(64 * 1024 + 1, b'\n');
    refused(&tiny(), Some(&document), "document-too-long", "65536");
}

#[test]
fn a_document_with_an_unknown_key_is_refused_by_its_name() {
    refused(
        &tiny(),
        Some(document_for_tiny("[limits]\nbody_byte = 1\n").as_bytes()),
        "document-invalid",
        "limits.body_byte",
    );
}

#[test]
fn a_document_with_a_value_out_of_range_is_refused_by_its_key() {
    let document = document_for_tiny("[engine]\ncontext_tokens = 1\n");
    refused(&tiny(), Some(document.as_bytes()), "document-invalid", "engine.context_tokens");
}

#[test]
fn a_disk_that_is_not_a_gguf_although_its_digest_fits() {
    let model = vec![0x5a; 130_912];
    refused(&model, Some(fitting(&model).as_bytes()), "model-missing", "GGUF");
}

#[test]
fn a_gguf_of_an_architecture_that_is_not_supported_although_its_digest_fits() {
    let mut model = tiny();
    let key = b"general.architecture";
    let place = model.windows(key.len()).position(|window| window == key).expect("the key is there");
    let value = place + key.len() + 4 + 8; // type and length
    assert_eq!(&model[value..value + 5], b"llama");
    model[value..value + 5].copy_from_slice(b"mamba");
    refused(&model, Some(fitting(&model).as_bytes()), "gguf-architecture", "mamba");
}

#[test]
fn a_truncated_gguf_although_its_digest_fits() {
    let mut model = tiny();
    model.truncate(model.len() - 8192);
    refused(&model, Some(fitting(&model).as_bytes()), "gguf-truncated", "are left");
}
