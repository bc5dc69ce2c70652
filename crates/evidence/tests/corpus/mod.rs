//! The corpus of real evidence named by `LETHE_CORPUS`, and policies for its texts.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

use std::{fs, path::PathBuf};

use evidence::{Policy, Time};
use serde_json::Value;

/// The corpus, if the environment names it.
pub struct Corpus {
    root: PathBuf,
    items: Vec<Value>,
}

impl Corpus {
    /// Opens the corpus; says loudly what is skipped when there is none.
    pub fn open(what: &str) -> Option<Self> {
        let Some(root) = std::env::var_os("LETHE_CORPUS") else {
            eprintln!("SKIPPED: LETHE_CORPUS is not set, {what} was not checked");
            return None;
        };
        let root = PathBuf::from(root).join("evidence");
        let manifest = fs::read(root.join("manifest.json")).expect("the corpus has a manifest");
        let mut manifest: Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
        let items = manifest["items"].take().as_array().expect("items").clone();
        Some(Self { root, items })
    }

    pub fn items(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.items.iter().filter(move |item| item["kind"] == kind)
    }

    pub fn item(&self, id: &str) -> &Value {
        self.items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no item {id}"))
    }

    /// A file of an item, by its name in the manifest.
    pub fn file(&self, item: &Value, name: &str) -> Option<Vec<u8>> {
        let path = item["files"][name]["path"].as_str()?;
        Some(fs::read(self.root.join(path)).expect("a file of the corpus"))
    }

    pub fn path(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).expect("a file of the corpus")
    }
}

/// When an expectation holds.
pub fn at(expectation: &Value) -> Time {
    Time::parse(expectation["at"].as_str().expect("a time")).expect("RFC 3339")
}

pub fn time(text: &str) -> Time {
    Time::parse(text).expect("RFC 3339")
}

pub fn embedded(name: &str) -> Policy {
    Policy::embedded(name).expect("an embedded policy")
}

/// A policy of the test tree.
pub fn test_policy(name: &str) -> Policy {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(format!("{name}.toml"));
    Policy::from_toml(&fs::read_to_string(path).expect("a policy of the test tree")).expect("a policy")
}

/// The policy that says what an expectation's text says.
pub fn policy_for(text: &str) -> Policy {
    match text {
        "default policy (no debug, migration off), pinned ARK, no minimum TCB"
        | "default"
        | "any"
        | "Azure profile: hardware report chain + runtime-data binding + AK-signed vTPM quote (nonce as listed); SNP policy without debug"
        | "signature and binding only (no TCB collateral)"
        | "TDX verifier"
        | "pinned Intel root"
        | "AK trusted by key; nonce as listed"
        | "AK trusted by key"
        | "pinned Azure root"
        | "signature, chain, nonce as listed; no RIM/OCSP" => embedded("hardware"),
        "default, VLEK allowed, vmpl<=1" => test_policy("vlek-aws"),
        "default, vmpl must be 0" => test_policy("vlek-aws-vmpl0"),
        "VCEK only" => test_policy("vcek-only"),
        "debug allowed" => test_policy("debug-allowed"),
        other => panic!("no policy says {other:?}"),
    }
}

/// `order - number`, big-endian.
pub fn negated(order: &[u8], number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = order
        .iter()
        .zip(number)
        .rev()
        .map(|(order, number)| {
            let difference = i16::from(*order) - i16::from(*number) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference + 256 * borrow).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}
