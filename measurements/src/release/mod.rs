//! The file `measurements/<version>.json` of a release: every value that a platform will report for its image.
//!
//! Its bytes are decided by its contents (keys in byte order, two spaces of indentation, one line feed at the end), because
//! [`signed_note`] signs them. [`Release::parse`] takes those bytes and no others. `docs/releases.md` explains the file,
//! `measurements/release.schema.json` describes it for other programs.

mod digest;
mod register;
pub mod signed_note;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use digest::{Banks, Digest, Sha256Digest, Sha384Digest};
pub use register::{Conditional, Event, Register, Unpredictable};

/// Version of the file's format.
pub const FORMAT: u32 = 1;
/// Name of the image's manifest, beside an image and among the files of a release.
pub const MANIFEST: &str = "lethe.manifest.json";
/// A release file has at most this many bytes.
pub const LIMIT: usize = 256 * 1024;
/// Launch digests are published for 1 to this many virtual processors.
pub const VCPUS: u32 = 64;

/// Why a release file is not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// More than [`LIMIT`].
    #[error("a release file has at most {LIMIT} bytes, this one has {bytes}")]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
    /// No JSON of this shape.
    #[error("not the JSON of a release file")]
    Shape(#[source] serde_json::Error),
    /// A format that this code does not know.
    #[error("format {found} of release files is unknown: this program reads format {FORMAT}")]
    Format {
        /// What the file says.
        found: u32,
    },
    /// The same contents in other bytes than those that are signed.
    #[error("keys, spaces or line breaks are not those of a release file")]
    Bytes,
    /// A version that would be no good file name.
    #[error("a version starts with a digit and has up to 64 letters, digits, '.', '-' and '+'")]
    Version,
    /// A name that would be no good file name.
    #[error("file names in a release have up to 128 letters, digits, '.', '-', '_' and '+', and do not start with '.'")]
    Name,
    /// Entries out of order, or one of them twice.
    #[error("the {list} are not in order, or one is there twice")]
    Order {
        /// Which list.
        list: &'static str,
    },
    /// A list of launch digests that is too short or too long.
    #[error("launch digests are listed for 1 to {VCPUS} virtual processors, not for {found}")]
    Vcpus {
        /// How many there are.
        found: usize,
    },
}

/// Everything a release says about its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version of the format: [`FORMAT`].
    pub format: u32,
    /// Version of the release.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// The image.
    pub image: Image,
    /// The other files of the release, by name.
    pub files: BTreeMap<String, Part>,
    /// What platforms report, for each firmware image; in order of their names and digests.
    pub firmware: Vec<Firmware>,
    /// What a TPM reports whatever the firmware image is.
    pub tpm2: Tpm2,
}

/// The image, and the parts that a rebuild is compared by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `lethe.efi`.
    pub file: Part,
    /// What firmware measures of it.
    pub authenticode: Banks,
    /// The program inside.
    pub appliance: Part,
    /// The root file system inside.
    pub initramfs: Part,
    /// The deployment document inside, if there is one.
    pub document: Option<Document>,
    /// Which drivers are in it.
    pub flavour: String,
    /// The compiled-in command line of the kernel.
    pub cmdline: String,
}

/// A sequence of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A deployment document with both digests that a register could hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its SHA-384.
    pub sha384: Sha384Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What platforms report for the image and one firmware image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// Its file name, which nothing relies on.
    pub name: String,
    /// The file.
    pub file: Part,
    /// AMD SEV-SNP.
    pub sev_snp: Platform<SevSnp>,
    /// Intel TDX.
    pub tdx: Platform<Tdx>,
    /// PCR 7 of a TPM: Secure Boot.
    pub pcr7: Register<Banks>,
}

/// What a platform reports, or why nothing is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Platform<T> {
    /// What it reports.
    Measured(T),
    /// Why this firmware proves nothing about the image there.
    Unsupported(String),
}

/// Launch digests of guests that QEMU starts with `-kernel lethe.efi`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SevSnp {
    /// `SEV_FEATURES` of every processor, as 0x and hexadecimal digits.
    pub guest_features: String,
    /// For each processor signature, in the order of QEMU's types.
    pub launch_digests: Vec<LaunchDigests>,
}

/// Launch digests for one processor signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchDigests {
    /// CPUID leaf 1, EAX, as 0x and hexadecimal digits.
    pub cpu_signature: String,
    /// The names of QEMU's `-cpu` that have it, without versions.
    pub cpu_types: Vec<String>,
    /// For 1, 2, … [`VCPUS`] virtual processors.
    pub by_vcpus: Vec<Sha384Digest>,
}

/// Registers of a TD that boots the image from a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tdx {
    /// The firmware.
    pub mrtd: Register<Sha384Digest>,
    /// The machine.
    pub rtmr0: Register<Sha384Digest>,
    /// The image.
    pub rtmr1: Register<Sha384Digest>,
    /// Command line and initial RAM disk.
    pub rtmr2: Register<Sha384Digest>,
}

/// PCRs that do not depend on the firmware image, by whose firmware it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm2 {
    /// EDK II's OVMF and most others.
    pub edk2: Pcrs,
    /// Google Compute Engine.
    pub google: Pcrs,
}

/// PCRs after the image was booted from a disk. PCR 12 holds the deployment document, which is not a release's to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcrs {
    /// The PCR that the image's event is in.
    pub image_pcr: u32,
    /// The digest of the image's event: the one event that a verifier has to find, once.
    pub image_event: Banks,
    /// Drivers of devices; Google: partition table and image.
    pub pcr2: Register<Banks>,
    /// What the boot manager starts.
    pub pcr4: Register<Banks>,
    /// Load options and initial RAM disks.
    pub pcr9: Register<Banks>,
    /// systemd's boot stub, which is not there.
    pub pcr11: Register<Banks>,
}

/// Where a launch digest stands in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch<'a> {
    /// The firmware image.
    pub firmware: &'a Firmware,
    /// The names of the processor.
    pub cpu_types: &'a [String],
    /// The number of virtual processors.
    pub vcpus: u32,
}

impl Release {
    /// Reads a release file.
    ///
    /// # Errors
    /// [`ReleaseError`] for anything but the exact bytes that [`Release::render`] gives for some release.
    pub fn parse(text: &[u8]) -> Result<Self, ReleaseError> {
        if text.len() > LIMIT {
            return Err(ReleaseError::TooLarge { bytes: text.len() });
        }
        /// The one key that every format has.
        #[derive(Deserialize)]
        struct Any {
            format: u32,
        }
        let Any { format } = serde_json::from_slice(text).map_err(ReleaseError::Shape)?;
        if format != FORMAT {
            return Err(ReleaseError::Format { found: format });
        }
        let release: Self = serde_json::from_slice(text).map_err(ReleaseError::Shape)?;
        if release.render()?.as_bytes() != text {
            return Err(ReleaseError::Bytes);
        }
        Ok(release)
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`ReleaseError`] for a release that no file can hold: too large, lists out of order, names that are no file names.
    pub fn render(&self) -> Result<String, ReleaseError> {
        self.check()?;
        let mut value = serde_json::to_value(self).map_err(ReleaseError::Shape)?;
        value.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&value).map_err(ReleaseError::Shape)?;
        text.push('\n');
        if text.len() > LIMIT {
            return Err(ReleaseError::TooLarge { bytes: text.len() });
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), ReleaseError> {
        check_version(&self.version)?;
        self.files.keys().try_for_each(|name| check_name(name))?;
        self.firmware.iter().try_for_each(|firmware| check_name(&firmware.name))?;
        let place = |firmware: &Firmware| (firmware.name.clone(), firmware.file.sha256);
        if !self.firmware.is_sorted_by(|one, next| place(one) < place(next)) {
            return Err(ReleaseError::Order { list: "firmware images" });
        }
        for digests in self.firmware.iter().flat_map(Firmware::launch_digests) {
            if digests.by_vcpus.len() != VCPUS as usize {
                return Err(ReleaseError::Vcpus { found: digests.by_vcpus.len() });
            }
        }
        Ok(())
    }

    /// Finds the guest that a report's `MEASUREMENT` belongs to.
    #[must_use]
    pub fn launch(&self, measurement: &[u8; 48]) -> Option<Launch<'_>> {
        let mut all = self.firmware.iter().flat_map(|firmware| {
            let every = firmware.launch_digests();
            every.flat_map(move |digests| {
                let counted = (1..).zip(&digests.by_vcpus);
                counted.map(move |(vcpus, digest)| (digest, Launch { firmware, cpu_types: &digests.cpu_types, vcpus }))
            })
        });
        all.find(|(digest, _)| digest.0 == *measurement).map(|(_, launch)| launch)
    }
}

impl Firmware {
    fn launch_digests(&self) -> impl Iterator<Item = &LaunchDigests> {
        let list = match &self.sev_snp {
            Platform::Measured(guest) => guest.launch_digests.as_slice(),
            Platform::Unsupported(_) => &[],
        };
        list.iter()
    }
}

/// Whether a version can be that of a release: it becomes a file name.
///
/// # Errors
/// [`ReleaseError::Version`].
pub fn check_version(version: &str) -> Result<(), ReleaseError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let good = version.starts_with(|first: char| first.is_ascii_digit()) && version.len() <= 64;
    if good && version.bytes().all(plain) { Ok(()) } else { Err(ReleaseError::Version) }
}

/// Whether a name can be that of a file in a release, and is no path to another place.
///
/// # Errors
/// [`ReleaseError::Name`].
pub fn check_name(name: &str) -> Result<(), ReleaseError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let good = !name.is_empty() && !name.starts_with('.') && name.len() <= 128;
    if good && name.bytes().all(plain) { Ok(()) } else { Err(ReleaseError::Name) }
}
