//! The software bill of materials: CycloneDX 1.6 as JSON, for what is inside the image.
//!
//! Nothing in it says when or where it was made: the same sources give the same bytes.

mod cargo;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use measurements::release::Image;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use cargo::{Graph, Package};

/// The crate that carries llama.cpp's sources.
const LLAMA_CRATE: &str = "llama-cpp-sys-2";
/// What everything else hangs on.
const ROOT: &str = "lethe";

/// A component and what it depends on.
struct Component {
    value: Value,
    depends_on: BTreeSet<String>,
}

/// The bill's text.
///
/// # Errors
/// If cargo does not tell what the appliance depends on.
pub(super) fn render(root: &Path, version: &str, manifest: &Manifest, image: &Image) -> anyhow::Result<String> {
    text(version, &Graph::read(root)?, manifest, image)
}

fn text(version: &str, graph: &Graph, manifest: &Manifest, image: &Image) -> anyhow::Result<String> {
    let mut components: BTreeMap<String, Component> =
        graph.packages.iter().map(|package| (package.reference(), component(package))).collect();
    let llama = graph.packages.iter().find(|package| package.name == LLAMA_CRATE);
    let mut add = |reference: &str, value: Value| {
        components.insert(reference.to_owned(), Component { value, depends_on: BTreeSet::new() });
    };
    add("linux", kernel(manifest));
    if let Some(package) = llama {
        add("llama.cpp", llama_cpp(package));
    }
    for (reference, value) in libraries(manifest) {
        add(reference, value);
    }
    if let Some(package) = llama.and_then(|package| components.get_mut(&package.reference())) {
        package.depends_on.insert("llama.cpp".to_owned());
    }
    let top = json!({
        "type": "firmware",
        "bom-ref": ROOT,
        "name": ROOT,
        "version": version,
        "hashes": [hash(&image.file.sha256.to_string())],
        "licenses": [{ "license": { "id": "Apache-2.0" } }],
    });
    let mut direct: BTreeSet<String> = ["linux", "rust-std", "libstdc++", "glibc"].map(str::to_owned).into();
    direct.insert(graph.root.clone());
    let mut dependencies = vec![json!({ "ref": ROOT, "dependsOn": direct })];
    dependencies
        .extend(components.iter().map(|(reference, one)| json!({ "ref": reference, "dependsOn": one.depends_on })));
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": top,
            "lifecycles": [{ "phase": "build" }],
            "properties": [{ "name": "lethe:commit", "value": manifest.commit()? }],
            "tools": { "components": [
                { "type": "application", "name": "lethe-image", "version": env!("CARGO_PKG_VERSION") },
            ] },
        },
        "components": components.into_values().map(|one| one.value).collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    bill.sort_all_objects();
    let serial = serial(&serde_json::to_vec(&bill).context("cannot write the bill of materials")?);
    if let Some(object) = bill.as_object_mut() {
        object.insert("serialNumber".to_owned(), serial.into());
    }
    bill.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&bill).context("cannot write the bill of materials")?;
    text.push('\n');
    Ok(text)
}

/// A UUID of version 8 (RFC 9562: of one's own making) from the bill itself.
fn serial(bill: &[u8]) -> String {
    let mut bytes: [u8; 16] = Sha256::digest(bill).first_chunk().copied().unwrap_or_default();
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let part = |range| digits.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn hash(sha256: &str) -> Value {
    json!({ "alg": "SHA-256", "content": sha256 })
}

fn component(package: &Package) -> Component {
    let mut value = json!({
        "type": "library",
        "bom-ref": package.reference(),
        "name": package.name,
        "version": package.version,
        // What only takes part in the build leaves no code of its own in the image.
        "scope": if package.is_inside { "required" } else { "excluded" },
    });
    if let Some(object) = value.as_object_mut() {
        if let Some(purl) = package.purl() {
            object.insert("purl".to_owned(), purl.into());
        }
        if let Some(checksum) = &package.checksum {
            object.insert("hashes".to_owned(), json!([hash(checksum)]));
        }
        if let Some(license) = &package.license {
            object.insert("licenses".to_owned(), json!([{ "expression": expression(license) }]));
        }
    }
    Component { value, depends_on: package.depends_on.clone() }
}

/// Older crates write `MIT/Apache-2.0`, which is no SPDX expression.
fn expression(license: &str) -> String {
    license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

fn kernel(manifest: &Manifest) -> Value {
    let kernel = &manifest.kernel;
    let patch = |(name, digest): (&String, &String)| json!({ "name": format!("lethe:patch:{name}"), "value": digest });
    json!({
        "type": "operating-system",
        "bom-ref": "linux",
        "name": "linux",
        "version": kernel.version,
        "purl": format!("pkg:deb/debian/{}@{}?arch=all", kernel.package, escaped(&kernel.package_version)),
        "hashes": [hash(&kernel.source_sha256)],
        "licenses": [{ "expression": "GPL-2.0-only WITH Linux-syscall-note" }],
        "properties": kernel.patches.iter().map(patch).collect::<Vec<_>>(),
        "scope": "required",
    })
}

/// llama.cpp has no version of its own there: the crate's archive, whose digest this is, has its sources.
fn llama_cpp(package: &Package) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": "llama.cpp",
        "name": "llama.cpp",
        "version": format!("{LLAMA_CRATE}-{}", package.version),
        "description": format!("sources as packed in the crate {LLAMA_CRATE} of this version"),
        "licenses": [{ "license": { "id": "MIT" } }],
        "scope": "required",
    });
    if let (Some(object), Some(checksum)) = (value.as_object_mut(), &package.checksum) {
        object.insert("hashes".to_owned(), json!([hash(checksum)]));
    }
    value
}

/// What the compilers link in. The manifest does not have the C library's version.
fn libraries(manifest: &Manifest) -> [(&'static str, Value); 3] {
    let version = |program: &str| manifest.toolchain.get(program).cloned().unwrap_or_default();
    let library = |reference: &str, name: &str, license: &str| {
        json!({
            "type": "library", "bom-ref": reference, "name": name, "scope": "required",
            "licenses": [{ "expression": license }],
        })
    };
    let with = |mut value: Value, version: String| {
        if let (Some(object), false) = (value.as_object_mut(), version.is_empty()) {
            object.insert("version".to_owned(), version.into());
        }
        value
    };
    let gcc = "GPL-3.0-or-later WITH GCC-exception-3.1";
    [
        ("rust-std", with(library("rust-std", "Rust standard library", "MIT OR Apache-2.0"), version("rustc"))),
        ("libstdc++", with(library("libstdc++", "GNU C++ library", gcc), version("g++"))),
        ("glibc", library("glibc", "GNU C library", "LGPL-2.1-or-later")),
    ]
}

/// A version in a package URL: letters, digits and `.-_~` stand for themselves.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_become_expressions_and_versions_are_escaped() {
        assert_eq!(expression("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(expression("MIT OR Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(escaped("6.12.117-1~deb12u1"), "6.12.117-1~deb12u1");
        assert_eq!(escaped("1.0+x"), "1.0%2Bx");
    }

    #[test]
    fn the_serial_number_is_decided_by_the_contents() {
        let one = serial(b"one");
        assert_eq!(one, serial(b"one"));
        assert_ne!(one, serial(b"two"));
        let digits = one.strip_prefix("urn:uuid:").unwrap();
        let lengths: Vec<usize> = digits.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&digits[14..15], "8");
        assert!("89ab".contains(&digits[19..20]));
    }
}
