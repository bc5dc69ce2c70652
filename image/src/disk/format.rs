//! One disk, four kinds of file.

mod qcow2;
mod tarball;
mod vhd;

use std::io;

use clap::ValueEnum;

use super::output::Output;
use super::sparse::Sparse;

/// The kind of file a disk is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The disk's bytes (AWS, any hypervisor)
    Raw,
    /// QEMU's own, which leaves out zeros
    Qcow2,
    /// A fixed VHD (Azure)
    Vhd,
    /// disk.raw in a compressed archive (Google)
    #[value(name = "tar.gz")]
    TarGz,
}

/// Why a disk cannot be written as this kind of file.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file's own tables would not suffice.
    #[error("the disk holds more than a file of this format is made for here")]
    TooMuch,
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Format {
    /// Its name on the command line, which is also what such files end with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::TarGz => "tar.gz",
        }
    }

    /// What a disk's size must be a multiple of, in MiB: Google imports whole GiB, Azure whole MiB.
    #[must_use]
    pub fn unit_mib(self) -> u64 {
        match self {
            Self::TarGz => 1024,
            Self::Raw | Self::Qcow2 | Self::Vhd => 1,
        }
    }

    /// Writes the disk, whose SHA-256 is `sha256`.
    ///
    /// # Errors
    /// [`FormatError`] if the format cannot hold it, or the file cannot be written.
    pub fn write(self, disk: &Sparse, sha256: &[u8; 32], output: &mut Output) -> Result<(), FormatError> {
        match self {
            Self::Raw => Ok(output.disk(disk)?),
            Self::Qcow2 => qcow2::write(disk, output),
            Self::Vhd => Ok(vhd::write(disk, sha256, output)?),
            Self::TarGz => Ok(tarball::write(disk, output)?),
        }
    }
}
