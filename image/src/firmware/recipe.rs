//! Everything that decides a firmware image, read from `image/firmware/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use super::platform::Platform;
use super::source::Pin;
use super::tools::Versions;

/// Counted up when the way of building changes in a manner no file in `image/firmware/` shows.
const METHOD: &str = "lethe firmware build 2";

/// The data of `image/firmware/`.
pub struct Recipe {
    /// The source archives.
    pub pin: Pin,
    /// Patches by file name, in the order they are applied after Debian's.
    pub patches: BTreeMap<String, String>,
}

impl Recipe {
    /// Reads the folder `image/firmware/`.
    ///
    /// # Errors
    /// If a file is missing, unreadable or malformed.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let pin = toml::from_str(&read(&folder.join("source.toml"))?).context("bad firmware pin in source.toml")?;
        let folder = folder.join("patches");
        let mut patches = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".patch"))
            {
                patches.insert(name.to_owned(), read(&path)?);
            }
        }
        Ok(Self { pin, patches })
    }

    /// Digest of what decides the source tree and the tools built in it.
    #[must_use]
    pub fn source_key(&self, versions: &Versions) -> String {
        let pins = [METHOD, &self.pin.upstream.sha256, &self.pin.debian.sha256];
        let patches = self.patches.iter().flat_map(|(name, text)| [name.as_str(), text]);
        let versions = versions.iter().flat_map(|(name, version)| [*name, version]);
        key(pins.into_iter().chain(patches).chain(versions))
    }

    /// Digest of what decides an image.
    #[must_use]
    pub fn key(&self, platform: Platform, versions: &Versions) -> String {
        key([self.source_key(versions).as_str(), platform.name()])
    }
}

/// Half a SHA-256 over the parts, each behind its length.
fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut digest = hex::encode(hasher.finalize());
    digest.truncate(32);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware")).unwrap()
    }

    fn versions(gcc: &str) -> Versions {
        Versions::from([("gcc", gcc.to_owned())])
    }

    #[test]
    fn the_key_stands_for_all_that_decides_the_bytes() {
        let first = recipe().key(Platform::Tdx, &versions("12"));
        assert_eq!(recipe().key(Platform::Tdx, &versions("12")), first);
        assert_ne!(recipe().key(Platform::SevSnp, &versions("12")), first);
        assert_ne!(recipe().key(Platform::Tdx, &versions("13")), first);
        let mut other = recipe();
        other.patches.pop_last().unwrap();
        assert_ne!(other.key(Platform::Tdx, &versions("12")), first);
        let mut other = recipe();
        other.pin.debian.sha256.replace_range(..1, "x");
        assert_ne!(other.key(Platform::Tdx, &versions("12")), first);
    }

    #[test]
    fn every_patch_says_why() {
        for (name, text) in recipe().patches {
            let (reason, _) = text.split_once("\n--- a/").unwrap_or_else(|| panic!("{name} is no patch"));
            assert!(reason.lines().filter(|line| !line.is_empty()).count() > 1, "{name}");
        }
    }
}
