//! The verifier needs nothing but bytes: no C, no thread, no file, no socket, no clock, no randomness.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Packages that must never be below this crate, with what they would bring.
const REFUSED: &[(&str, &str)] = &[
    ("ring", "C and assembly"),
    ("aws-lc-rs", "C"),
    ("openssl", "C"),
    ("openssl-sys", "C"),
    ("libc", "system calls"),
    ("rustix", "system calls"),
    ("nix", "system calls"),
    ("windows-sys", "system calls"),
    ("tokio", "threads and sockets"),
    ("mio", "sockets"),
    ("socket2", "sockets"),
    ("rayon", "threads"),
    ("crossbeam", "threads"),
    ("hyper", "sockets"),
    ("reqwest", "sockets"),
    ("ureq", "sockets"),
    ("getrandom", "randomness of the system"),
    ("chrono", "a clock"),
    ("time", "a clock"),
    ("tempfile", "files"),
];

/// Packages that may only help to compile.
const BUILDERS: &[&str] = &["cc", "cmake", "bindgen", "pkg-config", "vcpkg", "nasm-rs"];

/// Calls that reach outside; looked for in the source of every package below this one.
const CALLS: &[&str] = &[
    "File::open",
    "File::create",
    "fs::read",
    "fs::write",
    "TcpStream::connect",
    "UdpSocket::bind",
    "thread::spawn",
    "SystemTime::now",
    "Instant::now",
    "Command::new",
];

/// Files with such calls that were looked at, and why they do not count.
const LOOKED_AT: &[(&str, &str, &str)] =
    &[("der", "document.rs", "behind the feature `std`, which nothing here turns on")];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("metadata are JSON")
}

/// Names of this crate's dependencies over normal edges with every feature, from `cargo tree`.
fn tree() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--package=evidence",
            "--edges=normal",
            "--all-features",
            "--prefix=none",
            "--format={p}",
        ])
        .args(["--target=x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().filter(|line| !line.contains("(proc-macro)")).filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn nothing_below_the_verifier_reaches_outside() {
    let tree = tree();
    assert!(tree.contains("rsa") && tree.contains("p384"), "the tree was read: {tree:?}");
    for (name, what) in REFUSED {
        assert!(!tree.contains(*name), "{name} brings {what}");
    }
    let metadata = metadata();
    let mut packages: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        packages.entry(package["name"].as_str().expect("a name")).or_default().push(package);
    }
    // Crates that run while compiling do not end up in the verifier; their own dependencies do not either.
    let compile_time = ["proc-macro2", "quote", "syn", "unicode-ident"];
    for name in tree.iter().filter(|name| !compile_time.contains(&name.as_str())) {
        for package in &packages[name.as_str()] {
            assert!(package["links"].is_null(), "{name} links a native library");
            for dependency in package["dependencies"].as_array().expect("dependencies") {
                let builder = dependency["kind"] == "build" && dependency["optional"] == false;
                let used = BUILDERS.contains(&dependency["name"].as_str().expect("a name"));
                assert!(!(builder && used), "{name} builds with {}", dependency["name"]);
            }
            let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
            let source = manifest.parent().expect("a folder").join("src");
            check_source(name, &source);
        }
    }
}

fn check_source(name: &str, folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Tests and benchmarks are not part of the library.
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        if matches!(file, "tests" | "tests.rs" | "test" | "bin" | "benches") {
            continue;
        }
        if path.is_dir() {
            check_source(name, &path);
        } else if file.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if LOOKED_AT.iter().any(|(package, known, _)| *package == name && *known == file) {
                continue;
            }
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                if let Some(call) = CALLS.iter().find(|call| line.contains(**call)) {
                    panic!("{name} calls {call} in {}", path.display());
                }
            }
        }
    }
}
