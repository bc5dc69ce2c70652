//! `lethe-image reproduce`: builds an image again from its manifest, in clean folders, and compares.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::build::checkout;
use crate::build::parts::Parts;
use crate::build::toolchain::Toolchain;
use crate::progress::Progress;
use crate::report::advise;

/// Exit status when the two builds differ.
const DIFFERENT: u8 = 1;

/// Build an image again from the commit its manifest names, and compare the two byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lethe-image reproduce lethe.manifest.json                      from this checkout's history
  lethe-image reproduce lethe.manifest.json --source ~/lethe     from another repository
  lethe-image reproduce lethe.manifest.json --config lethe.toml  an image with a document inside

Everything is compiled again, kernel and llama.cpp too: a quarter of an hour on two cores. If a file lethe.parts.json lies beside the manifest,
a difference is traced to the first crate, section or kernel object that has it.
Exit status: 0 identical, 1 different or not possible, 2 wrong command line.")]
pub struct Args {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Repository that has the commit; default: the checkout this is run in
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// The deployment document inside the image, if there is one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Archive of the pinned kernel source, where the package is not installed
    #[arg(long, value_name = "FILE")]
    pub kernel_source: Option<PathBuf>,
    /// Keep what was built in this folder, which must not exist
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Builds, compares and says what it found.
///
/// # Errors
/// If the manifest is of an image that nobody can build again, or the build fails.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let progress = Progress::on_stderr();
    let theirs = read(&args.manifest)?;
    let commit = reproducible(&theirs, args)?;
    let source = args.source.clone().map_or_else(checkout::root, Ok)?;
    if let Some(keep) = &args.keep {
        fs::create_dir(keep).with_context(|| {
            advise(format!("cannot make the folder {}", keep.display()), "name one with --keep that does not exist yet")
        })?;
    }
    let scratch = tempfile::Builder::new().prefix("lethe-reproduce-").tempdir().context("cannot make a folder")?;
    let tree = scratch.path().join("lethe");
    progress.status("Cloning", format!("{} at {commit}", source.display()));
    clone(&source, &commit, &tree)?;
    // In the clone, because its commit says which toolchain is meant.
    for difference in tools_that_differ(&theirs, Toolchain::probe(&tree)?.versions()) {
        progress.warning(format!("{difference}; the image will hardly be identical"));
    }
    progress.status("Building", "all of it, in clean folders");
    let out = build(&tree, scratch.path(), args)?;
    let ours = read(&out.join("lethe.manifest.json"))?;
    let found = compare(&theirs, &ours, &parts_beside(&args.manifest), &parts_beside(&out.join("lethe.manifest.json")));
    let status = tell(&found, &ours, args.json);
    if let Some(keep) = &args.keep {
        copy_files(&out, keep).with_context(|| format!("cannot copy what was built to {}", keep.display()))?;
    }
    Ok(status)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a manifest", path.display()))
}

/// The commit, if the manifest is of a build that says all of what it was made from.
fn reproducible(manifest: &Value, args: &Args) -> anyhow::Result<String> {
    let format = manifest.pointer("/format").and_then(Value::as_u64);
    ensure!(format == Some(1), "the manifest has format {format:?}; this program knows format 1");
    let text = |at: &str| manifest.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let commit = text("/source/commit");
    ensure!(
        commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "the manifest names no commit: the image was built outside of a repository"
    );
    let dirty = manifest.pointer("/source/dirty").and_then(Value::as_bool);
    ensure!(dirty == Some(false), "the image was built from a tree with changes that are in no commit");
    ensure!(text("/places") == "fixed", "the image was built in its checkout (--in-place), whose path is in its bytes");
    ensure!(text("/variant") == "release", "the image is the variant `{}`, made for tests", text("/variant"));
    let baked = manifest.pointer("/document/sha256").and_then(Value::as_str);
    match (baked, &args.config) {
        (None, None) => {}
        (None, Some(_)) => anyhow::bail!("the image has no deployment document inside; leave --config out"),
        (Some(digest), None) => {
            return Err(advise(
                format!("the image has a deployment document inside, SHA-256 {digest}"),
                "give that document with --config FILE",
            )
            .into());
        }
        (Some(digest), Some(path)) => {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let found = crate::build::manifest::sha256(&bytes);
            ensure!(found == digest, "{} has SHA-256 {found}, the image's document {digest}", path.display());
        }
    }
    Ok(commit.to_owned())
}

fn clone(source: &Path, commit: &str, tree: &Path) -> anyhow::Result<()> {
    let clone = Command::new("git")
        .args(["clone", "--quiet", "--no-hardlinks", "--no-checkout"])
        .arg(source)
        .arg(tree)
        .status();
    ensure!(clone.context("cannot run git")?.success(), "git could not clone {}", source.display());
    let mut checkout = Command::new("git");
    checkout.arg("-C").arg(tree).args(["checkout", "--quiet", "--detach", commit]);
    let done = checkout.status().context("cannot run git")?.success();
    ensure!(done, advise(format!("{} has no commit {commit}", source.display()), "fetch it, or name another --source"));
    Ok(())
}

/// Builds the image with the program of the same commit: how an image is made is part of its source.
fn build(tree: &Path, scratch: &Path, args: &Args) -> anyhow::Result<PathBuf> {
    let tools = scratch.join("tools");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "lethe-image"]).current_dir(tree);
    ensure!(
        cargo.env("CARGO_TARGET_DIR", &tools).stdin(Stdio::null()).status().context("cannot run cargo")?.success(),
        "the program that builds images does not compile at this commit"
    );
    let out = scratch.join("out");
    let mut command = Command::new(tools.join("x86_64-unknown-linux-gnu/release/lethe-image"));
    command.arg("build").arg("--out").arg(&out).arg("--target").arg(scratch.join("target")).current_dir(tree);
    for (option, path) in [("--config", &args.config), ("--kernel-source", &args.kernel_source)] {
        if let Some(path) = path {
            command.arg(option).arg(path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?);
        }
    }
    // the kernel's cache too: nothing that was built before takes part
    let status = command.env("XDG_CACHE_HOME", scratch.join("cache")).stdin(Stdio::null()).status();
    ensure!(status.context("cannot run lethe-image")?.success(), "the image does not build at this commit");
    Ok(out)
}

/// The files of one folder into another, which may lie on another file system.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The tools of a manifest that are others here, a line each.
fn tools_that_differ<N: Borrow<str> + Ord>(manifest: &Value, here: &BTreeMap<N, String>) -> Vec<String> {
    let tools = manifest.pointer("/toolchain").and_then(Value::as_object).into_iter().flatten();
    let theirs = tools.map(|(tool, version)| (tool, version.as_str().unwrap_or("something unreadable")));
    let differ = theirs.filter(|(tool, version)| here.get(tool.as_str()).map(String::as_str) != Some(version));
    let here = |tool: &str| here.get(tool).map_or("not there", String::as_str);
    differ.map(|(tool, version)| format!("toolchain: {tool} was {version} and is {} here", here(tool))).collect()
}

fn parts_beside(manifest: &Path) -> Option<Parts> {
    let name = manifest.file_name()?.to_str()?.replace(".manifest.json", ".parts.json");
    serde_json::from_str(&fs::read_to_string(manifest.with_file_name(name)).ok()?).ok()
}

/// What differs: facts of the manifests that explain a difference first, then the earliest part.
fn compare(theirs: &Value, ours: &Value, their_parts: &Option<Parts>, our_parts: &Option<Parts>) -> Vec<String> {
    let at = |manifest: &Value, place: &str| manifest.pointer(place).cloned().unwrap_or_default();
    if at(theirs, "/file/sha256") == at(ours, "/file/sha256") {
        return Vec::new();
    }
    let here: BTreeMap<String, String> = serde_json::from_value(at(ours, "/toolchain")).unwrap_or_default();
    let mut found = tools_that_differ(theirs, &here);
    for place in ["/kernel/source_sha256", "/kernel/config_sha256", "/kernel/cmdline", "/kernel/patches", "/document"] {
        if at(theirs, place) != at(ours, place) {
            found.push(format!("input: {}", place.trim_start_matches('/').replace('/', ".")));
        }
    }
    if let (Some(theirs), Some(ours)) = (their_parts, our_parts)
        && let Some(first) = theirs.first_difference(ours)
    {
        found.push(format!("first differing part: {} {}", first.kind, first.name));
    }
    for (place, what) in [
        ("/appliance/sha256", "the appliance"),
        ("/initramfs/sha256", "the root file system"),
        ("/file/sha256", "the kernel around them"),
    ] {
        if at(theirs, place) != at(ours, place) {
            found.push(format!("first differing file: {what}"));
            break;
        }
    }
    found
}

fn tell(found: &[String], ours: &Value, json: bool) -> ExitCode {
    let identical = found.is_empty();
    let digest = ours.pointer("/file/sha256").and_then(Value::as_str).unwrap_or_default();
    if json {
        println!("{}", serde_json::json!({ "identical": identical, "sha256": digest, "differences": found }));
    } else if identical {
        println!("identical: SHA-256 {digest}");
    } else {
        println!("different: SHA-256 here {digest}");
        found.iter().for_each(|line| println!("  {line}"));
    }
    if identical { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args() -> Args {
        Args { manifest: "m".into(), source: None, config: None, kernel_source: None, keep: None, json: false }
    }

    fn manifest() -> Value {
        json!({ "format": 1, "places": "fixed", "variant": "release", "document": null, "toolchain": { "gcc": "12" },
            "source": { "commit": "0123456789012345678901234567890123456789", "dirty": false },
            "file": { "sha256": "f" }, "appliance": { "sha256": "a" }, "initramfs": { "sha256": "i" } })
    }

    #[test]
    fn a_manifest_of_a_committed_tree_at_fixed_places_can_be_built_again() {
        assert_eq!(reproducible(&manifest(), &args()).unwrap().len(), 40);
    }

    #[test]
    fn manifests_that_hide_an_input_are_refused() {
        for (place, value, says) in [
            ("/source/dirty", json!(true), "changes"),
            ("/source/commit", Value::Null, "no commit"),
            ("/source/commit", json!("HEAD; rm"), "no commit"),
            ("/places", json!("checkout"), "--in-place"),
            ("/variant", json!("unmended-initrd"), "made for tests"),
            ("/document", json!({ "sha256": "00" }), "document inside"),
            ("/format", json!(2), "format"),
        ] {
            let mut manifest = manifest();
            *manifest.pointer_mut(place).unwrap() = value;
            let error = reproducible(&manifest, &args()).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{place}: {error:#}");
        }
        let extra = Args { config: Some("x".into()), ..args() };
        assert!(reproducible(&manifest(), &extra).is_err());
    }

    #[test]
    fn another_compiler_is_said_before_anything_is_built() {
        assert!(tools_that_differ(&manifest(), Toolchain::invented("12").versions()).is_empty());
        assert_eq!(tools_that_differ(&manifest(), Toolchain::invented("13").versions()).len(), 1);
    }

    #[test]
    fn a_difference_is_explained_by_the_tool_that_differs() {
        let mut ours = manifest();
        assert!(compare(&manifest(), &ours, &None, &None).is_empty());
        ours["file"]["sha256"] = json!("other");
        ours["toolchain"]["gcc"] = json!("13");
        ours["appliance"]["sha256"] = json!("other");
        let found = compare(&manifest(), &ours, &None, &None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("gcc") && found[1].contains("appliance"), "{found:?}");
    }
}
