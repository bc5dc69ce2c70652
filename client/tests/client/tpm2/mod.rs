//! Evidence of a TPM, captured once from an emulated machine of ours, and signed anew by a key of the test's own where a
//! live appliance is needed.

mod bundle;
mod live;
pub mod signer;

use std::path::PathBuf;

use serde_json::Value;

/// A file of the capture.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/tpm2/data").join(name)
}

/// The bytes of a file of the capture.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// The bundle of the capture.
pub fn bundle() -> Value {
    serde_json::from_slice(&bytes("bundle.json")).unwrap()
}

/// The report inside of a bundle.
pub fn report(bundle: &Value) -> Value {
    serde_json::from_str(bundle["report"].as_str().unwrap()).unwrap()
}
