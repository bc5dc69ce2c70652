//! Everything that decides a kernel but the archive inside it, read from `image/kernel/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest, Sha256};

use crate::build::toolchain::Toolchain;
use crate::kernel::pin::Pin;
use crate::kernel::settings::{self, Settings, Value};
use crate::kernel::variant::Variant;

/// Counted up when the way of building changes in a manner no file in `image/kernel/` shows.
const METHOD: &str = "lethe kernel build 1";
/// The kernel's own limit for a command line (`COMMAND_LINE_SIZE` on x86), with the closing zero.
const COMMAND_LINE_BYTES: usize = 2048;

/// The data of `image/kernel/`.
pub struct Recipe {
    /// The source archive.
    pub pin: Pin,
    /// The compiled-in command line of a release.
    pub cmdline: String,
    /// Patches by file name, in the order they are applied.
    pub patches: BTreeMap<String, String>,
    /// Fragments by file name, in the order they are read.
    fragments: BTreeMap<String, String>,
    policy: Settings,
}

impl Recipe {
    /// Reads the folder `image/kernel/`.
    ///
    /// # Errors
    /// If a file is missing, unreadable, or empty where it must not be.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let pin = toml::from_str(&read(&folder.join("source.toml"))?).context("bad kernel pin in source.toml")?;
        let policy =
            settings::parse(&read(&folder.join("policy.config"))?).context("bad kernel policy in policy.config")?;
        ensure!(!policy.is_empty(), "the kernel policy in policy.config is empty: it would allow everything");
        let cmdline = command_line(&read(&folder.join("cmdline"))?)?;
        let fragments = files(folder, ".config", |name| name.starts_with(|first: char| first.is_ascii_digit()))?;
        ensure!(!fragments.is_empty(), "no kernel fragments (NN-name.config) in {}", folder.display());
        Ok(Self { pin, cmdline, patches: files(&folder.join("patches"), ".patch", |_| true)?, fragments, policy })
    }

    /// The settings a variant asks for, as the kernel's `KCONFIG_ALLCONFIG` reads them.
    ///
    /// # Errors
    /// If a fragment has a line that is no setting, or two fragments set the same name.
    pub fn configuration(&self, variant: Variant, archive: &str) -> anyhow::Result<String> {
        let mut all = Settings::new();
        for (file, text) in &self.fragments {
            for (name, value) in settings::parse(text).with_context(|| format!("bad kernel fragment {file}"))? {
                ensure!(all.insert(name.clone(), value).is_none(), "{name} is set again in {file}");
            }
        }
        for name in variant.undone_settings() {
            ensure!(
                all.insert((*name).to_owned(), Value::Off).is_some(),
                "no fragment sets {name}, which this variant undoes"
            );
        }
        all.insert("CONFIG_CMDLINE".to_owned(), Value::Is(format!("\"{}\"", self.variant_cmdline(variant))));
        all.insert("CONFIG_INITRAMFS_SOURCE".to_owned(), Value::Is(format!("\"{archive}\"")));
        let line = |(name, value): (&String, &Value)| match value {
            Value::Off => format!("# {name} is not set\n"),
            Value::Is(text) => format!("{name}={text}\n"),
        };
        Ok(all.iter().map(line).collect())
    }

    /// The command line compiled into a variant.
    #[must_use]
    pub fn variant_cmdline(&self, variant: Variant) -> String {
        let kept = self.cmdline.split(' ').filter(|word| !variant.undone_words().contains(word));
        kept.collect::<Vec<_>>().join(" ")
    }

    /// Compares a resolved configuration with what was asked for, and with the policy.
    ///
    /// # Errors
    /// Names every line that differs. A variant for tests must differ from the policy in exactly what it undoes.
    pub fn check(&self, resolved: &str, wanted: &str, variant: Variant) -> anyhow::Result<()> {
        let resolved = settings::parse(resolved).context("the kernel resolved a configuration that cannot be read")?;
        let lost = settings::differences(&settings::parse(wanted)?, &resolved);
        if !lost.is_empty() {
            bail!("kernel settings that did not take (a dependency is off, or the name is unknown):\n{}", lines(&lost));
        }
        let (undone, broken): (Vec<_>, Vec<_>) = settings::differences(&self.policy, &resolved)
            .into_iter()
            .partition(|difference| variant.undone_settings().contains(&difference.name.as_str()));
        if !broken.is_empty() {
            bail!("kernel settings against policy.config:\n{}", lines(&broken));
        }
        ensure!(
            undone.len() == variant.undone_settings().len(),
            "policy.config does not hold what the test variant undoes"
        );
        Ok(())
    }

    /// Digest of everything that decides the objects of a kernel: source, patches, settings, command line, tools, method.
    #[must_use]
    pub fn key(&self, variant: Variant, toolchain: &Toolchain) -> String {
        let mut key = Key::default();
        for part in [METHOD, &self.pin.sha256, variant.name(), &self.variant_cmdline(variant)] {
            key.add(part);
        }
        for (name, text) in self.patches.iter().chain(&self.fragments) {
            key.add(name);
            key.add(text);
        }
        for (name, version) in toolchain.of_the_kernel() {
            key.add(name);
            key.add(version);
        }
        key.finish()
    }

    /// Digest that names the unpacked and patched source.
    #[must_use]
    pub fn source_key(&self) -> String {
        let mut key = Key::default();
        key.add(METHOD);
        key.add(&self.pin.sha256);
        for (name, text) in &self.patches {
            key.add(name);
            key.add(text);
        }
        key.finish()
    }
}

/// A digest over parts, each with its length in front, so that no two lists of parts look alike.
#[derive(Default)]
struct Key(Sha256);

impl Key {
    fn add(&mut self, part: &str) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn finish(self) -> String {
        let mut text = hex::encode(self.0.finalize());
        text.truncate(24);
        text
    }
}

fn lines(differences: &[settings::Difference]) -> String {
    differences.iter().map(|difference| format!("  {difference}\n")).collect()
}

/// The words of the file `cmdline`, without its comments, joined by single spaces.
fn command_line(text: &str) -> anyhow::Result<String> {
    let words: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace).collect();
    let joined = words.join(" ");
    ensure!(!joined.is_empty(), "the kernel command line is empty: the kernel would then take the host's");
    ensure!(
        joined.len() < COMMAND_LINE_BYTES,
        "the kernel command line has {} bytes, more than the kernel takes",
        joined.len()
    );
    ensure!(
        joined.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\$`".contains(&byte) || byte == b' '),
        "the kernel command line has a character that needs quoting"
    );
    Ok(joined)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Files of a folder by name.
fn files(folder: &Path, suffix: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(suffix) && wanted(name) {
            found.insert(name.to_owned(), read(&path)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
