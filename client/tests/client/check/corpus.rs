//! The corpus of real evidence named by `LETHE_CORPUS`, as files.

use std::{fs, path::PathBuf};

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
        let mut manifest: Value = serde_json::from_slice(&fs::read(root.join("manifest.json")).unwrap()).unwrap();
        let items = manifest["items"].take().as_array().unwrap().clone();
        Some(Self { root, items })
    }

    pub fn items(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.items.iter().filter(move |item| item["kind"] == kind)
    }

    pub fn all(&self) -> &[Value] {
        &self.items
    }

    pub fn item(&self, id: &str) -> &Value {
        self.items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no item {id}"))
    }

    /// Where a file of an item is, by its name in the manifest.
    pub fn file(&self, item: &Value, name: &str) -> Option<PathBuf> {
        item["files"][name]["path"].as_str().map(|path| self.root.join(path))
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

pub fn expectations(item: &Value) -> impl Iterator<Item = &Value> {
    item["expected"].as_array().into_iter().flatten()
}

/// The time of an expectation.
pub fn at(expectation: &Value) -> &str {
    expectation["at"].as_str().unwrap()
}

/// What `--policy` gets for an expectation's text.
pub fn policy_for(text: &str) -> String {
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
        | "pinned Azure root" => "hardware".to_owned(),
        "default, VLEK allowed, vmpl<=1" => test_policy("vlek-aws"),
        "default, vmpl must be 0" => test_policy("vlek-aws-vmpl0"),
        "VCEK only" => test_policy("vcek-only"),
        "debug allowed" => test_policy("debug-allowed"),
        other => panic!("no policy says {other:?}"),
    }
}

/// A policy file of the verifier's test tree.
pub fn test_policy(name: &str) -> String {
    format!("{}/../crates/evidence/tests/policies/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}
