//! The two firmware images that are built, and what makes each worth building.

use anyhow::{Context as _, ensure};
use measurements::firmware::{Firmware, sev, tdx};

/// Which firmware is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// Checks what QEMU hands over against a measured table of hashes, and boots nothing else
    SevSnp,
    /// Measures what it boots into the registers of the TDX module
    Tdx,
}

impl Platform {
    /// Its name on the command line and in file names of the cache.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
        }
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::SevSnp => "AMD SEV-SNP",
            Self::Tdx => "Intel TDX",
        }
    }

    /// EDK II's description of the platform, from the top of its tree.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::SevSnp => "OvmfPkg/AmdSev/AmdSevX64.dsc",
            Self::Tdx => "OvmfPkg/IntelTdx/IntelTdxX64.dsc",
        }
    }

    /// Where EDK II puts the image.
    #[must_use]
    pub fn product(self) -> &'static str {
        match self {
            Self::SevSnp => "Build/AmdSev/RELEASE_GCC5/FV/OVMF.fd",
            Self::Tdx => "Build/IntelTdx/RELEASE_GCC5/FV/OVMF.fd",
        }
    }

    /// The name Debian gives this kind of image.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::SevSnp => "OVMF.amdsev.fd",
            Self::Tdx => "OVMF.inteltdx.fd",
        }
    }

    /// Checks that an image is what a confidential machine of this platform needs.
    ///
    /// # Errors
    /// If its metadata are missing or malformed, or the kernel would not be covered by the launch digest.
    pub fn check(self, image: &[u8]) -> anyhow::Result<()> {
        let firmware = Firmware::parse(image).context("the build gave no firmware image")?;
        match self {
            Self::SevSnp => {
                let layout = sev::Layout::read(&firmware).context("the firmware cannot start a SEV-SNP guest")?;
                ensure!(layout.hash_table().is_some(), "the firmware has no page for kernel hashes");
            }
            Self::Tdx => {
                tdx::Layout::read(&firmware).context("the firmware cannot start a TDX guest")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../fuzz/corpus/firmware/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// The seed of a firmware image is its end: whole pages are what a launch takes.
    fn image(name: &str) -> Vec<u8> {
        let end = seed(name);
        let mut image = vec![0; end.len().next_multiple_of(4096) - end.len()];
        image.extend(end);
        image
    }

    #[test]
    fn firmware_with_a_page_for_kernel_hashes_is_taken() {
        Platform::SevSnp.check(&image("sev-kernel-hashes")).unwrap();
    }

    #[test]
    fn firmware_that_would_boot_any_kernel_under_one_digest_is_refused() {
        let error = Platform::SevSnp.check(&image("sev-plain")).unwrap_err().to_string();
        assert_eq!(error, "the firmware has no page for kernel hashes");
    }

    #[test]
    fn firmware_without_tdx_metadata_is_refused() {
        Platform::Tdx.check(&seed("tdx")).unwrap();
        assert!(Platform::Tdx.check(&image("sev-plain")).is_err());
        assert!(Platform::Tdx.check(&[0; 4096]).is_err());
    }
}
