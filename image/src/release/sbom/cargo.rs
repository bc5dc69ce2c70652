//! What the appliance is made of, as cargo tells it.
//!
//! `cargo tree` says which crates take part for this package and target, with exactly its features; `cargo metadata` unites
//! the features of the whole workspace, and is asked only for what is known about each of those crates.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::report::advise;

const PACKAGE: &str = "lethe-appliance";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Name and version, which together name one crate in a build.
type Key = (String, String);

/// A crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    /// SHA-256 of its archive in a registry.
    pub(super) checksum: Option<String>,
    /// Whether its code is in the program; otherwise it only took part in the build.
    pub(super) is_inside: bool,
    pub(super) depends_on: BTreeSet<String>,
}

/// All crates of the appliance.
#[derive(Debug)]
pub(super) struct Graph {
    /// Reference of the appliance itself.
    pub(super) root: String,
    pub(super) packages: Vec<Package>,
}

impl Package {
    /// What other components call it.
    pub(super) fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }

    /// Its package URL, if it comes from a registry.
    pub(super) fn purl(&self) -> Option<String> {
        let version = super::escaped(&self.version);
        self.checksum.as_ref().map(|_| format!("pkg:cargo/{}@{version}", self.name))
    }
}

fn reference(name: &str, version: &str) -> String {
    format!("crate:{name}@{version}")
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Described>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Graph {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo fails, or its answers do not fit together.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let tree = |edges: &str| -> anyhow::Result<BTreeSet<Key>> {
            let text = cargo(root, &["tree", "--package", PACKAGE, "--edges", edges, "--target", TARGET])?;
            listed(&text)
        };
        let inside = tree("normal,no-proc-macro")?;
        let all = tree("normal,build")?;
        let metadata = cargo(root, &["metadata", "--format-version", "1", "--filter-platform", TARGET])?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata said something unexpected")?;
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        Self::of(&inside, &all, &metadata, &toml::from_str(&lock).context("Cargo.lock is not as cargo writes it")?)
    }

    fn of(inside: &BTreeSet<Key>, all: &BTreeSet<Key>, metadata: &Metadata, lock: &Lock) -> anyhow::Result<Self> {
        let checksums: BTreeMap<Key, &str> = lock
            .package
            .iter()
            .filter_map(|one| Some(((one.name.clone(), one.version.clone()), one.checksum.as_deref()?)))
            .collect();
        let described: BTreeMap<&str, &Described> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let edges: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut packages = Vec::new();
        for key in all.union(inside) {
            let found = metadata.packages.iter().find(|package| package.name == key.0 && package.version == key.1);
            let found = found.with_context(|| format!("cargo metadata does not know {} {}", key.0, key.1))?;
            let node = edges.get(found.id.as_str()).with_context(|| format!("{} has no place in the graph", key.0))?;
            let needed = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
            let others = node.deps.iter().filter(needed).filter_map(|edge| described.get(edge.pkg.as_str()));
            let others = others.filter(|one| all.contains(&(one.name.clone(), one.version.clone())));
            packages.push(Package {
                name: key.0.clone(),
                version: key.1.clone(),
                license: found.license.clone(),
                checksum: checksums.get(key).map(|&checksum| checksum.to_owned()),
                is_inside: inside.contains(key),
                depends_on: others.map(|one| reference(&one.name, &one.version)).collect(),
            });
        }
        packages.sort_by_key(Package::reference);
        let root = packages.iter().find(|package| package.name == PACKAGE).context("cargo left the appliance out")?;
        Ok(Self { root: root.reference(), packages })
    }
}

/// The crates in the lines of `cargo tree --prefix none`: `NAME vVERSION`, and more that is not needed.
fn listed(text: &str) -> anyhow::Result<BTreeSet<Key>> {
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| key(line).context("cargo tree said something unexpected")).collect()
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let (command, rest) = arguments.split_first().context("no command for cargo")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(command).arg("--locked").args(rest).current_dir(root).env("CARGO_TERM_COLOR", "never");
    if *command == "tree" {
        cargo.args(["--prefix", "none", "--format", "{p}"]);
    }
    let output = cargo.output().with_context(|| advise("cannot run cargo", "install Rust: https://rustup.rs"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {command} ended with {}: {}", output.status, errors.trim());
    String::from_utf8(output.stdout).with_context(|| format!("cargo {command} said something unexpected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> BTreeSet<Key> {
        listed(text).unwrap()
    }

    #[test]
    fn crates_are_found_in_the_lines_of_a_tree() {
        let text =
            "lethe-appliance v0.1.0 (/somewhere)\nserde v1.0.0\nserde_derive v1.0.0 (proc-macro)\nserde v1.0.0 (*)\n";
        assert_eq!(keys(text).len(), 3);
        assert!(listed("serde 1.0.0\n").is_err());
    }

    #[test]
    fn a_crate_is_inside_or_took_part_in_the_build_or_is_left_out() {
        let metadata: Metadata = serde_json::from_value(serde_json::json!({
            "packages": [
                { "id": "a", "name": "lethe-appliance", "version": "0.1.0", "license": "Apache-2.0" },
                { "id": "b", "name": "hex", "version": "0.4.3", "license": "MIT OR Apache-2.0" },
                { "id": "c", "name": "cc", "version": "1.2.0", "license": null },
                { "id": "d", "name": "tempfile", "version": "3.0.0", "license": null },
            ],
            "resolve": { "nodes": [
                { "id": "a", "deps": [
                    { "pkg": "b", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "c", "dep_kinds": [{ "kind": "build" }] },
                    { "pkg": "d", "dep_kinds": [{ "kind": "dev" }] },
                ] },
                { "id": "b", "deps": [] }, { "id": "c", "deps": [] }, { "id": "d", "deps": [] },
            ] },
        }))
        .unwrap();
        let lock: Lock = toml::from_str(
            "[[package]]\nname = \"hex\"\nversion = \"0.4.3\"\nchecksum = \"00\"\n[[package]]\nname = \"cc\"\nversion = \"1.2.0\"\n",
        )
        .unwrap();
        let inside = keys("lethe-appliance v0.1.0\nhex v0.4.3\n");
        let all = keys("lethe-appliance v0.1.0\nhex v0.4.3\ncc v1.2.0\n");
        let graph = Graph::of(&inside, &all, &metadata, &lock).unwrap();
        assert_eq!(graph.root, "crate:lethe-appliance@0.1.0");
        let found: Vec<_> = graph.packages.iter().map(|one| (one.name.as_str(), one.is_inside)).collect();
        assert_eq!(found, [("cc", false), ("hex", true), ("lethe-appliance", true)]);
        assert_eq!(graph.packages[1].purl().unwrap(), "pkg:cargo/hex@0.4.3");
        assert_eq!(graph.packages[2].purl(), None);
        let needed: Vec<_> = graph.packages[2].depends_on.iter().map(String::as_str).collect();
        assert_eq!(needed, ["crate:cc@1.2.0", "crate:hex@0.4.3"]);
        assert!(Graph::of(&inside, &keys("lethe-appliance v0.1.0\nother v1.0.0\n"), &metadata, &lock).is_err());
    }
}
