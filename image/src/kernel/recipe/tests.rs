use std::path::PathBuf;

use super::*;

const RESOLVED: &str = "CONFIG_A=y\nCONFIG_INITRAMFS_FORCE=y\n# CONFIG_SWAP is not set\nCONFIG_CMDLINE=\"quiet noinitrd\"\nCONFIG_INITRAMFS_SOURCE=\"x.cpio\"\n";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A small but complete recipe.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.0.path().join("patches")).unwrap();
        let pin = "package='p'\npackage_version='1'\nversion='1'\narchive='/a'\nfolder='f'\nsha256='00'\n";
        folder.write("source.toml", pin);
        folder.write("cmdline", "# why\nquiet\nnoinitrd\n");
        folder.write("policy.config", "CONFIG_INITRAMFS_FORCE=y\n# CONFIG_SWAP is not set\n");
        folder.write("10-a.config", "CONFIG_A=y\nCONFIG_INITRAMFS_FORCE=y\n");
        folder.write("patches/1.patch", "a patch");
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self) -> anyhow::Result<Recipe> {
        Recipe::read(self.0.path())
    }
}

fn wanted(recipe: &Recipe, variant: Variant) -> String {
    recipe.configuration(variant, "x.cpio").unwrap()
}

#[test]
fn the_recipe_in_this_tree_is_well_formed() {
    let recipe = Recipe::read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("kernel")).unwrap();
    for variant in [Variant::Release, Variant::UnmendedInitrd] {
        assert!(recipe.configuration(variant, "x.cpio").is_ok());
    }
    assert_eq!(recipe.policy.get("CONFIG_INITRAMFS_FORCE"), Some(&Value::Is("y".into())));
    assert!(recipe.cmdline.split(' ').any(|word| word == "noinitrd"));
}

#[test]
fn configuration_carries_command_line_and_archive() {
    let recipe = Folder::new().read().unwrap();
    assert_eq!(
        wanted(&recipe, Variant::Release),
        "CONFIG_A=y\nCONFIG_CMDLINE=\"quiet noinitrd\"\nCONFIG_INITRAMFS_FORCE=y\nCONFIG_INITRAMFS_SOURCE=\"x.cpio\"\n"
    );
}

#[test]
fn test_variant_undoes_setting_and_word_and_nothing_else() {
    let recipe = Folder::new().read().unwrap();
    assert_eq!(
        wanted(&recipe, Variant::UnmendedInitrd),
        "CONFIG_A=y\nCONFIG_CMDLINE=\"quiet\"\n# CONFIG_INITRAMFS_FORCE is not set\nCONFIG_INITRAMFS_SOURCE=\"x.cpio\"\n"
    );
}

#[test]
fn resolved_configuration_that_fits_is_accepted() {
    let recipe = Folder::new().read().unwrap();
    recipe.check(RESOLVED, &wanted(&recipe, Variant::Release), Variant::Release).unwrap();
}

#[test]
fn setting_that_did_not_take_is_refused_by_name() {
    let recipe = Folder::new().read().unwrap();
    let resolved = RESOLVED.replace("CONFIG_A=y\n", "");
    let error = recipe.check(&resolved, &wanted(&recipe, Variant::Release), Variant::Release).unwrap_err().to_string();
    assert!(error.contains("CONFIG_A: wanted y, found off"), "{error}");
}

#[test]
fn setting_against_the_policy_is_refused_by_name() {
    let recipe = Folder::new().read().unwrap();
    let resolved = RESOLVED.replace("# CONFIG_SWAP is not set", "CONFIG_SWAP=y");
    let error = recipe.check(&resolved, &wanted(&recipe, Variant::Release), Variant::Release).unwrap_err().to_string();
    assert!(error.contains("policy.config") && error.contains("CONFIG_SWAP: wanted off, found y"), "{error}");
}

#[test]
fn test_variant_may_break_only_what_it_undoes() {
    let recipe = Folder::new().read().unwrap();
    let variant = Variant::UnmendedInitrd;
    let resolved = RESOLVED.replace("CONFIG_INITRAMFS_FORCE=y\n", "").replace("quiet noinitrd", "quiet");
    recipe.check(&resolved, &wanted(&recipe, variant), variant).unwrap();
    let worse = resolved.replace("# CONFIG_SWAP is not set", "CONFIG_SWAP=y");
    assert!(recipe.check(&worse, &wanted(&recipe, variant), variant).is_err());
    let release = recipe.check(&resolved, &wanted(&recipe, Variant::Release), Variant::Release);
    assert!(release.is_err());
}

#[test]
fn empty_policy_is_refused() {
    let folder = Folder::new();
    folder.write("policy.config", "# only words\n");
    assert!(folder.read().err().unwrap().to_string().contains("empty"));
}

#[test]
fn empty_or_quoted_command_line_is_refused() {
    let folder = Folder::new();
    for text in ["", "# nothing\n", "a=\"b\"\n", "$HOME\n", &"x ".repeat(1100)] {
        folder.write("cmdline", text);
        assert!(folder.read().is_err(), "{text:.20}");
    }
}

#[test]
fn setting_in_two_fragments_is_refused() {
    let folder = Folder::new();
    folder.write("20-b.config", "CONFIG_A=m\n");
    assert!(folder.read().unwrap().configuration(Variant::Release, "x.cpio").is_err());
}

#[test]
fn key_changes_with_everything_that_decides_a_kernel() {
    let folder = Folder::new();
    let tools = Toolchain::invented("12");
    let key = |folder: &Folder| folder.read().unwrap().key(Variant::Release, &tools);
    let mut keys = vec![key(&folder), folder.read().unwrap().key(Variant::UnmendedInitrd, &tools)];
    keys.push(folder.read().unwrap().key(Variant::Release, &Toolchain::invented("13")));
    for (file, text) in [
        ("10-a.config", "CONFIG_A=y\n"),
        ("cmdline", "loud noinitrd\n"),
        ("patches/1.patch", "another patch"),
        ("patches/2.patch", "a patch"),
        ("source.toml", "package='p'\npackage_version='1'\nversion='1'\narchive='/a'\nfolder='f'\nsha256='01'\n"),
    ] {
        folder.write(file, text);
        keys.push(key(&folder));
    }
    let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    assert_eq!(key(&folder), key(&folder));
}
