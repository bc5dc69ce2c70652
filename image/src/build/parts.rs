//! Digests of what an image was put together from, so that two builds that differ can be told apart at the first part that does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{elf, manifest};

/// Target of the units that are in the image; build scripts and macros are compiled for another folder.
const TARGET: &str = "/x86_64-unknown-linux-gnu/";

/// `lethe.parts.json`: SHA-256 by name, in the order in which a build makes them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Each crate's library, by `name@version`.
    pub cargo_units: BTreeMap<String, String>,
    /// Each section of the stripped program.
    pub appliance_sections: BTreeMap<String, String>,
    /// Each object of the kernel, by its path in the object tree.
    pub kernel_objects: BTreeMap<String, String>,
}

/// The first difference between two builds.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which kind of part.
    pub kind: &'static str,
    /// Which of them.
    pub name: String,
}

impl Parts {
    /// Takes a crate's library from one of cargo's messages, if it is about one.
    ///
    /// # Errors
    /// If the library cannot be read. `outside` turns a path of the build into one that can be opened.
    pub fn note_unit(
        &mut self,
        message: &serde_json::Value,
        outside: impl Fn(&Path) -> std::path::PathBuf,
    ) -> anyhow::Result<()> {
        let Some(id) = message.get("package_id").and_then(|id| id.as_str()) else { return Ok(()) };
        let files = message.get("filenames").and_then(|files| files.as_array()).into_iter().flatten();
        for file in
            files.filter_map(|file| file.as_str()).filter(|file| file.ends_with(".rlib") && file.contains(TARGET))
        {
            let path = outside(Path::new(file));
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            self.cargo_units.insert(unit_name(id), manifest::sha256(&bytes));
        }
        Ok(())
    }

    /// Takes the sections of the stripped program.
    ///
    /// # Errors
    /// If it is no sound ELF file.
    pub fn note_appliance(&mut self, program: &[u8]) -> Result<(), elf::ElfError> {
        let sections = elf::sections(program)?.into_iter();
        self.appliance_sections = sections.map(|(name, bytes)| (name, manifest::sha256(bytes))).collect();
        Ok(())
    }

    /// Takes every object of the kernel's object tree.
    ///
    /// # Errors
    /// If the tree cannot be read.
    pub fn note_kernel(&mut self, tree: &Path) -> anyhow::Result<()> {
        let mut folders = vec![tree.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "o") {
                    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                    let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy().into_owned();
                    self.kernel_objects.insert(name, manifest::sha256(&bytes));
                }
            }
        }
        Ok(())
    }

    /// The first part that the two do not share.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Difference> {
        let groups = [
            ("cargo unit", &self.cargo_units, &other.cargo_units),
            ("section of the appliance", &self.appliance_sections, &other.appliance_sections),
            ("kernel object", &self.kernel_objects, &other.kernel_objects),
        ];
        groups.into_iter().find_map(|(kind, ours, theirs)| {
            let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
            names
                .into_iter()
                .find(|name| ours.get(*name) != theirs.get(*name))
                .map(|name| Difference { kind, name: name.clone() })
        })
    }
}

/// `name@version` of a package id (`registry+https://…#name@1.2.3`, or `path+file:///…/name#1.2.3`).
fn unit_name(id: &str) -> String {
    let (place, rest) = id.rsplit_once('#').unwrap_or(("", id));
    if rest.contains('@') {
        return rest.to_owned();
    }
    format!("{}@{rest}", place.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(unit: &str, section: &str) -> Parts {
        let map = |name: &str, digest: &str| BTreeMap::from([(name.to_owned(), digest.to_owned())]);
        Parts { cargo_units: map("ring@0.17.14", unit), appliance_sections: map(".text", section), ..Parts::default() }
    }

    #[test]
    fn the_earliest_part_that_differs_is_named() {
        assert_eq!(parts("a", "b").first_difference(&parts("a", "b")), None);
        let found = parts("a", "b").first_difference(&parts("x", "y"));
        assert_eq!(found, Some(Difference { kind: "cargo unit", name: "ring@0.17.14".to_owned() }));
        let found = parts("a", "b").first_difference(&parts("a", "y"));
        assert_eq!(found, Some(Difference { kind: "section of the appliance", name: ".text".to_owned() }));
        let missing = parts("a", "b").first_difference(&Parts::default());
        assert_eq!(missing.unwrap().name, "ring@0.17.14");
        let more = Parts::default().first_difference(&parts("a", "b"));
        assert_eq!(more.unwrap().name, "ring@0.17.14");
    }

    #[test]
    fn packages_are_named_without_their_place() {
        assert_eq!(unit_name("registry+https://example.org/index#ring@0.17.14"), "ring@0.17.14");
        assert_eq!(unit_name("path+file:///mnt/lethe/crates/llama#0.1.0"), "llama@0.1.0");
    }
}
