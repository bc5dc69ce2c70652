//! The kernel as released, and the one kernel that exists only to be attacked.

/// Which kernel is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Variant {
    /// The kernel of every image.
    #[default]
    Release,
    /// Without the mend that keeps a foreign initrd out: the boot tests show that this one runs a host's /init, which
    /// proves that their attack is real.
    UnmendedInitrd,
}

impl Variant {
    /// Settings this variant undoes.
    #[must_use]
    pub fn undone_settings(self) -> &'static [&'static str] {
        match self {
            Self::Release => &[],
            Self::UnmendedInitrd => &["CONFIG_INITRAMFS_FORCE"],
        }
    }

    /// Words of the command line this variant leaves out.
    #[must_use]
    pub fn undone_words(self) -> &'static [&'static str] {
        match self {
            Self::Release => &[],
            Self::UnmendedInitrd => &["noinitrd"],
        }
    }

    /// Its name in manifests and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::UnmendedInitrd => "unmended-initrd",
        }
    }

    /// What progress lines say after the version.
    #[must_use]
    pub fn remark(self) -> &'static str {
        match self {
            Self::Release => "",
            Self::UnmendedInitrd => " (without the initrd mend, for tests only)",
        }
    }
}
