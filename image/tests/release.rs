//! The commands `release` and `cosign` as their users see them: what is made, what is signed, what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Small inputs of our own making that the fuzz targets start from.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

struct Ended {
    status: i32,
    out: String,
    error: String,
}

impl Ended {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.status, 0, "{}", self.error);
        self.out
    }

    #[track_caller]
    fn refused(self, reason: &str) {
        assert_ne!(self.status, 0, "{}", self.out);
        assert!(self.error.contains(reason), "{}", self.error);
    }
}

/// A source tree in miniature with one commit, an image and its manifest outside of it, and two signers.
struct Stage {
    folder: tempfile::TempDir,
    keys: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { folder, keys: Vec::new() };
        let source = stage.path("source");
        for (name, text) in [
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"appliance\", \"inner\", \"builder\"]\n"),
            (
                "appliance/Cargo.toml",
                "[package]\nname = \"lethe-appliance\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"Apache-2.0\"\n\
                 [dependencies]\ninner = { path = \"../inner\" }\n[build-dependencies]\nbuilder = { path = \"../builder\" }\n",
            ),
            ("appliance/src/main.rs", "fn main() {}\n"),
            ("appliance/build.rs", "fn main() {}\n"),
            ("inner/Cargo.toml", "[package]\nname = \"inner\"\nversion = \"1.0.0\"\nlicense = \"MIT/Apache-2.0\"\n"),
            ("inner/src/lib.rs", ""),
            ("builder/Cargo.toml", "[package]\nname = \"builder\"\nversion = \"2.0.0\"\n"),
            ("builder/src/lib.rs", ""),
            ("image/kernel/source.toml", ""),
            ("CHANGELOG.md", "# Changelog\n\n## 0.2.0\n- Everything.\n"),
        ] {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        succeed(Command::new("cargo").args(["generate-lockfile", "--offline"]).current_dir(&source));
        stage.git(&["init", "--quiet"]);
        stage.commit();
        stage.built(&fs::read(Path::new(SEEDS).join("pe/plus")).unwrap(), "lethe");
        stage.signer("a").signer("b")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let author = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        succeed(git.args(author).args(arguments).current_dir(self.path("source")))
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "m"]);
    }

    /// An image, and a manifest as `lethe-image build` writes it at this commit.
    fn built(&self, efi: &[u8], name: &str) {
        let image = self.path(&format!("{name}.efi"));
        fs::write(&image, efi).unwrap();
        let measured = self.run(&["measure", "tpm2", "--json", "--efi", image.to_str().unwrap()]).done();
        let measured: Value = serde_json::from_str(&measured).unwrap();
        let part = |byte: &str| json!({ "sha256": byte.repeat(32), "size": 1 });
        let manifest = json!({
            "format": 1, "variant": "release", "flavour": "qemu", "document": null,
            "file": { "sha256": hex::encode(Sha256::digest(efi)), "size": efi.len() },
            "authenticode": measured["image_event"]["digest"],
            "appliance": part("aa"), "initramfs": part("bb"),
            "kernel": {
                "version": "6.12.1", "package": "linux-source-6.12", "package_version": "6.12.1-1~deb12u1",
                "source_sha256": "cc".repeat(32), "patches": { "0001.patch": "dd".repeat(32) },
                "config_sha256": "ee".repeat(32), "cmdline": "noinitrd",
            },
            "source": { "commit": self.git(&["rev-parse", "HEAD"]).trim(), "dirty": false },
            "places": "fixed",
            "toolchain": { "rustc": "rustc 1.95.0", "g++": "g++ 12.2.0" },
        });
        self.write_manifest(name, &manifest);
    }

    fn manifest(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(&format!("{name}.manifest.json"))).unwrap()).unwrap()
    }

    fn write_manifest(&self, name: &str, manifest: &Value) {
        fs::write(self.path(&format!("{name}.manifest.json")), format!("{manifest:#}\n")).unwrap();
    }

    fn signer(mut self, name: &str) -> Self {
        let file = self.path(&format!("{name}.key"));
        let key = self.run(&["release", "keygen", "--name", name, "--out", file.to_str().unwrap()]).done();
        self.keys.push(key.trim().to_owned());
        self
    }

    fn firmware(&self, name: &str) -> PathBuf {
        let end = fs::read(Path::new(SEEDS).join("firmware").join(name)).unwrap();
        let mut image = vec![0; end.len().next_multiple_of(4096) - end.len()];
        image.extend(end);
        let path = self.path(name);
        fs::write(&path, image).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-image"));
        let output = command.args(arguments).current_dir(self.path("source")).output().unwrap();
        Ended {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `release` of the image into the folder `out`.
    fn release(&self, out: &str, more: &[&str]) -> Ended {
        let (key, efi, manifest) = (self.path("a.key"), self.path("lethe.efi"), self.path("lethe.manifest.json"));
        let paths = [("--key", key), ("--efi", efi), ("--manifest", manifest), ("--out", self.path(out))];
        let mut arguments = vec!["release", "--version", "0.2.0"];
        for (option, path) in &paths {
            arguments.extend([option, path.to_str().unwrap()]);
        }
        self.run(&[&arguments, more].concat())
    }

    fn note(&self) -> PathBuf {
        self.path("out/measurements/0.2.0.note")
    }

    fn verify(&self, more: &[&str]) -> Ended {
        let note = self.note();
        self.run(&[&["release", "verify", note.to_str().unwrap()], more].concat())
    }

    fn cosign(&self, more: &[&str]) -> Ended {
        let (note, key) = (self.note(), self.path("b.key"));
        self.run(&[&["cosign", note.to_str().unwrap(), "--key", key.to_str().unwrap()], more].concat())
    }
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn released() -> Stage {
    let stage = Stage::new();
    stage.release("out", &[]).done();
    stage
}

#[test]
fn a_release_has_every_file_and_is_the_same_the_second_time() {
    let stage = Stage::new();
    let firmware = ["sev-kernel-hashes", "sev-plain", "tdx"].map(|name| stage.firmware(name));
    let firmware: Vec<&str> = firmware.iter().flat_map(|path| ["--firmware", path.to_str().unwrap()]).collect();
    fs::write(stage.path("lethe.parts.json"), "{}\n").unwrap();
    stage.release("out", &firmware).done();
    let turned: Vec<&str> = firmware.rchunks(2).flatten().copied().collect();
    stage.release("again", &turned).done();
    for name in [
        "lethe.efi",
        "lethe.manifest.json",
        "lethe.parts.json",
        "CHANGELOG.md",
        "sbom.cdx.json",
        "measurements/0.2.0.json",
        "measurements/0.2.0.note",
    ] {
        assert_eq!(fs::read(stage.path("out").join(name)).unwrap(), fs::read(stage.path("again").join(name)).unwrap());
    }
    let text = fs::read_to_string(stage.path("out/measurements/0.2.0.json")).unwrap();
    let release: Value = serde_json::from_str(&text).unwrap();
    assert!(fs::read_to_string(stage.note()).unwrap().starts_with(&format!("{text}\n\u{2014} a ")));
    let images = &release["firmware"];
    assert_eq!(images[0]["name"], "sev-kernel-hashes");
    assert!(images[1]["sev_snp"]["unsupported"].as_str().unwrap().contains("does not measure the kernel"));
    assert_eq!(images[2]["tdx"]["measured"]["mrtd"]["values"].as_array().unwrap().len(), 2);
    let measured = stage.run(&[
        "measure",
        "sev-snp",
        "--json",
        "--vcpus",
        "7",
        "--cpu",
        "EPYC-Milan-v2",
        "--firmware",
        firmware[1],
        "--kernel",
        stage.path("lethe.efi").to_str().unwrap(),
    ]);
    let measured: Value = serde_json::from_str(&measured.done()).unwrap();
    let digests = images[0]["sev_snp"]["measured"]["launch_digests"].as_array().unwrap();
    let milan = digests.iter().find(|one| one["cpu_types"][0] == "EPYC-Milan").unwrap();
    assert_eq!(milan["by_vcpus"][6], measured["launch_digest"]);
}

#[test]
fn the_bill_of_materials_has_what_is_inside_and_nothing_else() {
    let stage = released();
    let bill: Value = serde_json::from_slice(&fs::read(stage.path("out/sbom.cdx.json")).unwrap()).unwrap();
    let components = bill["components"].as_array().unwrap();
    let scope = |name: &str| components.iter().find(|one| one["name"] == name).map(|one| one["scope"].clone());
    assert_eq!(scope("inner"), Some("required".into()));
    assert_eq!(scope("builder"), Some("excluded".into()));
    assert_eq!(scope("linux"), Some("required".into()));
    assert_eq!(scope("llama.cpp"), None, "this appliance has none");
    let inner = components.iter().find(|one| one["name"] == "inner").unwrap();
    assert_eq!(inner["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert!(bill["metadata"]["timestamp"].is_null());
    let mut references: Vec<&str> = components.iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
    references.push(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
    references.sort_unstable();
    let mut listed = Vec::new();
    for dependency in bill["dependencies"].as_array().unwrap() {
        listed.push(dependency["ref"].as_str().unwrap());
        for other in dependency["dependsOn"].as_array().unwrap() {
            assert!(references.contains(&other.as_str().unwrap()), "{other}");
        }
    }
    listed.sort_unstable();
    assert_eq!(listed, references);
    references.dedup();
    assert_eq!(listed.len(), references.len(), "a reference is there twice");
}

#[test]
fn signatures_are_good_for_another_implementation() {
    let stage = released();
    stage.cosign(&["--signer", &stage.keys[0]]).done();
    let note = fs::read_to_string(stage.note()).unwrap();
    let (text, signatures) = note.rsplit_once("\n\n").unwrap();
    let (text_file, key_file, signature_file) = (stage.path("text"), stage.path("der"), stage.path("signature"));
    let judge = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", "-inkey"]).arg(&key_file);
        openssl.arg("-in").arg(&text_file).arg("-sigfile").arg(&signature_file).output()
    };
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: openssl, which judges the signatures, is not installed");
        return;
    }
    assert_eq!(signatures.lines().count(), 2);
    for (line, key) in signatures.lines().zip(&stage.keys) {
        let public = STANDARD.decode(key.splitn(3, '+').nth(2).unwrap()).unwrap();
        let signature = STANDARD.decode(line.rsplit_once(' ').unwrap().1).unwrap();
        // RFC 8410: SubjectPublicKeyInfo of Ed25519.
        fs::write(&key_file, [&hex::decode("302a300506032b6570032100").unwrap(), &public[1..]].concat()).unwrap();
        fs::write(&signature_file, &signature[4..]).unwrap();
        fs::write(&text_file, format!("{text}\n")).unwrap();
        assert!(judge().unwrap().status.success());
        fs::write(&text_file, format!("{text} \n")).unwrap();
        assert!(!judge().unwrap().status.success());
    }
}

#[test]
fn a_release_is_verified_with_the_keys_and_the_number_that_its_user_names() {
    let stage = released();
    let (a, b) = (stage.keys[0].as_str(), stage.keys[1].as_str());
    let out = stage.verify(&["--key", a]).done();
    assert!(out.contains("signed by a\n") && out.contains("same      lethe.efi\n"), "{out}");
    stage.verify(&["--key", b]).refused("signed by 0 of the given keys, and 1 are asked for");
    stage.verify(&["--key", a, "--key", b]).refused("signed by 1 of the given keys, and 2 are asked for");
    stage.verify(&["--key", a, "--key", b, "--threshold", "1"]).done();
    stage.verify(&["--key", a, "--key", a, "--threshold", "2"]).refused("2 signatures cannot be asked of 1");
    stage.verify(&["--key", a, "--threshold", "0"]).refused("0 signatures cannot be asked of 1");
    stage.verify(&[]).refused("--key");
    stage.cosign(&["--signer", a]).done();
    stage.verify(&["--key", a, "--key", b]).done();
}

#[test]
fn changed_files_are_refused() {
    let stage = released();
    let (a, note) = (stage.keys[0].as_str(), fs::read_to_string(stage.note()).unwrap());
    fs::write(stage.note(), note.replace("\"qemu\"", "\"qemv\"")).unwrap();
    stage.verify(&["--key", a]).refused("the signature of a is wrong");
    fs::write(stage.note(), "x".repeat(600_000)).unwrap();
    stage.verify(&["--key", a]).refused("at most");
    fs::write(stage.note(), &note).unwrap();
    for name in ["lethe.efi", "sbom.cdx.json", "measurements/0.2.0.json"] {
        let path = stage.path("out").join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, [before.as_slice(), b" "].concat()).unwrap();
        stage.verify(&["--key", a]).refused("is not the file of this release");
        fs::write(&path, before).unwrap();
    }
    fs::remove_file(stage.path("out/lethe.efi")).unwrap();
    assert!(stage.verify(&["--key", a]).done().contains("not here  lethe.efi\n"));
}

#[test]
fn a_key_that_others_may_read_signs_nothing() {
    let stage = Stage::new();
    fs::set_permissions(stage.path("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
    stage.release("out", &[]).refused("(mode 0644)");
    assert!(!stage.path("out").exists());
    let key = stage.path("a.key");
    stage
        .run(&["release", "keygen", "--name", "a", "--out", key.to_str().unwrap()])
        .refused("cannot write the key file");
    stage.run(&["release", "keygen", "--name", "a b", "--out", "x"]).refused("the name of a key");
}

#[test]
fn nothing_is_cosigned_that_was_changed_or_came_out_otherwise() {
    let stage = released();
    let a = stage.keys[0].as_str();
    let before = fs::read_to_string(stage.note()).unwrap();
    stage.cosign(&[]).refused("required");
    stage.cosign(&["--signer", &stage.keys[1]]).refused("signed by 0 of the given keys");

    let (efi, manifest) = (stage.path("other.efi"), stage.path("other.manifest.json"));
    let (efi, manifest) = (efi.to_str().unwrap(), manifest.to_str().unwrap());
    let rebuilt = ["--manifest", manifest, "--efi", efi];
    stage.built(&fs::read(Path::new(SEEDS).join("pe/pe32")).unwrap(), "other");
    stage.cosign(&rebuilt).refused("your build differs from the release in: lethe.efi");
    let mut appliance = stage.manifest("lethe");
    appliance["appliance"]["size"] = 2.into();
    stage.write_manifest("other", &appliance);
    stage.cosign(&rebuilt[..2]).refused("your build differs from the release in: the appliance");
    stage.cosign(&rebuilt).refused("the manifest is about another image");
    let mut commit = stage.manifest("lethe");
    commit["source"]["commit"] = "0".repeat(40).into();
    stage.write_manifest("other", &commit);
    stage.cosign(&rebuilt[..2]).refused("your build is one of another commit");

    let changed = before.replace("\"qemu\"", "\"qemv\"");
    fs::write(stage.note(), &changed).unwrap();
    stage.cosign(&["--signer", a]).refused("the signature of a is wrong");
    assert_eq!(fs::read_to_string(stage.note()).unwrap(), changed);
    fs::write(stage.note(), &before).unwrap();

    fs::copy(stage.path("lethe.efi"), efi).unwrap();
    fs::copy(stage.path("lethe.manifest.json"), manifest).unwrap();
    stage.cosign(&[&["--signer", a], rebuilt.as_slice()].concat()).done();
    let after = fs::read_to_string(stage.note()).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == before.lines().count() + 1);
    stage.cosign(&["--signer", a]).refused("b has signed it already");
}

#[test]
fn only_what_one_commit_gave_is_released() {
    let stage = Stage::new();
    let good = stage.manifest("lethe");
    for (place, value, reason) in [
        ("/source/dirty", Value::Bool(true), "in no commit"),
        ("/source/commit", Value::Null, "names no commit"),
        ("/source/commit", "0".repeat(40).into(), "another commit"),
        ("/variant", "unmended".into(), "a kernel made for tests"),
        ("/places", "checkout".into(), "nobody else gets the bytes"),
        ("/file/size", 7.into(), "about another image"),
        ("/authenticode/sha256", "00".repeat(32).into(), "about another image"),
        ("/format", 2.into(), "format 2"),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value;
        stage.write_manifest("lethe", &changed);
        stage.release("out", &[]).refused(reason);
    }
    stage.write_manifest("lethe", &good);
    fs::write(stage.path("source/new"), "").unwrap();
    stage.release("out", &[]).refused("are in no commit");
    fs::remove_file(stage.path("source/new")).unwrap();
    stage.release("out", &["--firmware", stage.path("lethe.efi").to_str().unwrap()]).refused("no firmware image");
    assert!(!stage.path("out").exists());
    stage.release("out", &[]).done();
    stage.release("out", &[]).refused("is there already");

    fs::write(stage.path("source/CHANGELOG.md"), "# Changelog\n\n## Unreleased\n").unwrap();
    stage.commit();
    stage.release("other", &[]).refused("no section for 0.2.0");
}
