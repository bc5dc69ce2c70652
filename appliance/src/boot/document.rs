//! Finds the deployment document: in the image, at fw_cfg, or on a disk, and in exactly one of them.
//!
//! More than one is refused rather than ranked: whoever judges a machine by its console or its image must not have to
//! know an order of precedence, and a host that adds a second document gains nothing but a refusal.

use std::io::{self, Read};

use deployment::{Document, DocumentError, ENDORSEMENTS_MAX_BYTES, MAX_BYTES, Wrapped};
use protocol::secrets::MAX_SEALED;
use tee::{Binding, Origin, Tee, TeeError};

use super::Refused;
use super::disks::{self, Content, DiskError};
use super::mounts::Mounted;
use super::system::{Disk, System};

/// Where a document baked into the image lies in the initramfs. The image measurement covers it.
pub const BAKED: &str = "/etc/lethe/config.toml";
/// The document's fw_cfg file, which is opened once.
pub const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/lethe/config/raw";
/// What vendors say about the platform, where the host has it. Nothing here reads it.
pub const ENDORSEMENTS: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/lethe/endorsements/raw";

/// Secrets that an earlier boot sealed for this machine; opaque to the host, and to the machine until it has its keys.
pub const SEALED: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/lethe/sealed/raw";
// The launcher refuses longer files by its own constant.
const _: () = assert!(MAX_SEALED == deployment::SEALED_MAX_BYTES);

/// What can be read, as refusals name it.
const WHAT_DOCUMENT: &str = "the deployment document";
const WHAT_ENDORSEMENTS: &str = "the endorsements";
const WHAT_SEALED: &str = "the sealed secrets";

/// Where the document was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the initramfs: the image measurement covers it.
    Image,
    /// QEMU's fw_cfg.
    FwCfg,
    /// A disk or partition that begins with `LETHECFG`.
    Disk,
    /// A file named on the command line (host mode).
    File,
}

impl Source {
    /// Name on the console and in evidence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::FwCfg => "fw_cfg",
            Self::Disk => "disk",
            Self::File => "file",
        }
    }
}

/// A document whose digest was judged before its first byte was parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// What it says.
    pub document: Document,
    /// SHA-256 of its exact bytes.
    pub sha256: [u8; 32],
    /// Its exact bytes, which evidence shows: the document is public.
    pub bytes: Vec<u8>,
    /// Where it was.
    pub source: Source,
    /// What ties it to the machine.
    pub binding: Binding,
    /// What vendors say about the platform, as the host gave it: bytes for the evidence, which verifiers judge.
    pub endorsements: Option<Vec<u8>>,
    /// Secrets that an earlier boot sealed, as the host gave them.
    pub sealed: Option<Vec<u8>>,
}

/// Why there is no document to go by.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none.
    #[error("no deployment document: not in the image, not at fw_cfg opt/lethe/config, on no disk")]
    Missing,
    /// There are two.
    #[error("two deployment documents, {first} and {second}: exactly one is allowed")]
    Ambiguous {
        /// One place.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// It is longer than a document may be.
    #[error("the deployment document is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The host gives more than vendors say about a platform.
    #[error("the endorsements are longer than {ENDORSEMENTS_MAX_BYTES} bytes")]
    EndorsementsTooLong,
    /// The host gives them twice.
    #[error("endorsements at fw_cfg and on the document's disk: at most one is allowed")]
    EndorsementsTwice,
    /// The host gives more than a boot seals.
    #[error("the sealed secrets are longer than {MAX_SEALED} bytes")]
    SealedTooLong,
    /// A place cannot be read.
    #[error("cannot read {what} from {place}")]
    Read {
        /// What was looked for.
        what: &'static str,
        /// Which place.
        place: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disks cannot be searched.
    #[error("cannot look for the deployment document's disk")]
    Disks(#[source] DiskError),
    /// The disk with the magic carries no document.
    #[error("bad deployment document disk")]
    Unwrap(#[source] deployment::DiskError),
    /// It does not parse, or says something that is not allowed.
    #[error(transparent)]
    Invalid(DocumentError),
    /// The machine is bound to another one, or is not one to serve on.
    #[error(transparent)]
    Machine(#[from] TeeError),
}

impl From<FindError> for Refused {
    fn from(error: FindError) -> Self {
        let code = match &error {
            FindError::Missing => "document-missing",
            FindError::Ambiguous { .. } | FindError::Disks(DiskError::Ambiguous { .. }) => "document-ambiguous",
            FindError::TooLong => "document-too-long",
            FindError::EndorsementsTooLong
            | FindError::EndorsementsTwice
            | FindError::Read { what: WHAT_ENDORSEMENTS, .. } => "endorsements",
            FindError::SealedTooLong | FindError::Read { what: WHAT_SEALED, .. } => "sealed-secrets",
            FindError::Read { .. } | FindError::Disks(_) => "document-read",
            FindError::Unwrap(_) => "document-disk",
            FindError::Invalid(_) => "document-invalid",
            FindError::Machine(error) => error.code(),
        };
        Self::new(code, &error)
    }
}

/// Finds the document, binds it to the platform, and only then parses it.
///
/// # Errors
/// [`FindError`] if there is not exactly one, it is not the machine's, or it is not valid.
pub fn find(system: &impl System, _: &Mounted, machine: &dyn Tee) -> Result<Bound, FindError> {
    let Located { source, bytes, endorsements } = locate(system)?;
    let beside = |what, path, most, too_long| match read(system, (what, "fw_cfg"), path, most)? {
        Some(bytes) if bytes.len() > most => Err(too_long),
        found => Ok(found),
    };
    // on a disk they are bounded where the disk is unwrapped
    let other = beside(WHAT_ENDORSEMENTS, ENDORSEMENTS, ENDORSEMENTS_MAX_BYTES, FindError::EndorsementsTooLong)?;
    let endorsements = match (endorsements, other) {
        (Some(_), Some(_)) => return Err(FindError::EndorsementsTwice),
        (one, other) => one.or(other),
    };
    let sealed = beside(WHAT_SEALED, SEALED, MAX_SEALED, FindError::SealedTooLong)?;
    Ok(Bound { endorsements, sealed, ..bind(source, bytes, machine)? })
}

/// Judges bytes that were read from `source`: length, digest against the machine's register, then their meaning.
///
/// # Errors
/// [`FindError::TooLong`], [`FindError::Machine`] or [`FindError::Invalid`].
pub fn bind(source: Source, bytes: Vec<u8>, machine: &dyn Tee) -> Result<Bound, FindError> {
    if bytes.len() > MAX_BYTES {
        return Err(FindError::TooLong);
    }
    let sha256 = deployment::digest_sha256(&bytes);
    let origin = if source == Source::Image { Origin::Image } else { Origin::Host };
    let binding = machine.bind(&bytes, origin)?;
    let document = deployment::parse(&bytes).map_err(FindError::Invalid)?;
    Ok(Bound { document, sha256, bytes, source, binding, endorsements: None, sealed: None })
}

/// A document, and what came with it on its disk.
struct Located {
    source: Source,
    bytes: Vec<u8>,
    endorsements: Option<Vec<u8>>,
}

/// Reads the document from the one place that has it.
fn locate(system: &impl System) -> Result<Located, FindError> {
    let file = |source: Source, path| -> Result<_, FindError> {
        let bytes = read(system, (WHAT_DOCUMENT, source.name()), path, MAX_BYTES)?;
        Ok(bytes.map(|bytes| Located { source, bytes, endorsements: None }))
    };
    let mut found: Option<Located> = None;
    for candidate in [file(Source::Image, BAKED)?, file(Source::FwCfg, FW_CFG)?, disk(system, false)?] {
        match (&found, candidate) {
            (_, None) => {}
            (None, candidate) => found = candidate,
            (Some(first), Some(second)) => {
                return Err(FindError::Ambiguous { first: first.source.name(), second: second.source.name() });
            }
        }
    }
    match found {
        Some(found) => Ok(found),
        // Disks may still be appearing, and there is nothing else to go by.
        None => disk(system, true)?.ok_or(FindError::Missing),
    }
}

/// One byte more than there may be is read, so that more shows.
fn read(
    system: &impl System,
    (what, place): (&'static str, &'static str),
    path: &str,
    most: usize,
) -> Result<Option<Vec<u8>>, FindError> {
    system.read(path, most as u64 + 1).map_err(|source| FindError::Read { what, place, source })
}

fn disk(system: &impl System, wait: bool) -> Result<Option<Located>, FindError> {
    let found = if wait { disks::wait_for(system, Content::Document) } else { disks::find(system, Content::Document) };
    let Some((_, mut disk)) = found.map_err(FindError::Disks)? else { return Ok(None) };
    let read = |source| FindError::Read { what: WHAT_DOCUMENT, place: Source::Disk.name(), source };
    let length = disk.length().map_err(read)?;
    let mut bytes = Vec::new();
    // The host may answer a second read differently, so there is only this one.
    disk.take(length.min(deployment::DISK_MAX_BYTES as u64 + 1)).read_to_end(&mut bytes).map_err(read)?;
    let Wrapped { toml, endorsements } = deployment::unwrap_disk(&bytes).map_err(FindError::Unwrap)?;
    let endorsements = endorsements.map(<[u8]>::to_vec);
    Ok(Some(Located { source: Source::Disk, bytes: toml.to_vec(), endorsements }))
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Call, Fake};
    use super::super::mounts::mount_all;
    use super::*;

    fn toml() -> Vec<u8> {
        format!(
            "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 131072\n[clients]\naccess = \"anyone\"\n",
            "ab".repeat(32)
        )
        .into_bytes()
    }

    fn wrapped(toml: &[u8], endorsements: Option<&[u8]>) -> Vec<u8> {
        deployment::wrap_disk(Wrapped { toml, endorsements })
    }

    fn found(system: &Fake) -> Result<Bound, Refused> {
        let mounted = mount_all(system).unwrap();
        find(system, &mounted, &tee::NoTee).map_err(Refused::from)
    }

    fn with_files(files: &[(&str, &[u8])]) -> Fake {
        Fake {
            files: files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect(),
            ..Fake::default()
        }
    }

    #[test]
    fn each_source_is_found_and_gives_the_same_digest() {
        let toml = toml();
        let digest = deployment::digest_sha256(&toml);
        let baked = with_files(&[(BAKED, &toml)]);
        let fw_cfg = with_files(&[(FW_CFG, &toml)]);
        let disk = Fake { disks: [("vdb".to_owned(), wrapped(&toml, None))].into(), ..Fake::default() };
        for (system, source) in [(baked, Source::Image), (fw_cfg, Source::FwCfg), (disk, Source::Disk)] {
            let bound = found(&system).unwrap();
            assert_eq!((bound.source, bound.sha256), (source, digest));
            assert_eq!(bound.bytes, toml);
        }
    }

    #[test]
    fn two_documents_are_refused_even_when_they_are_the_same() {
        let toml = toml();
        let disks = || [("vda".to_owned(), wrapped(&toml, None))].into();
        let two = [
            with_files(&[(BAKED, &toml), (FW_CFG, &toml)]),
            Fake { disks: disks(), ..with_files(&[(BAKED, &toml)]) },
            Fake { disks: disks(), ..with_files(&[(FW_CFG, &toml)]) },
            Fake {
                disks: ["vda", "vdb"].map(|name| (name.to_owned(), wrapped(&toml, None))).into(),
                ..Fake::default()
            },
        ];
        for system in two {
            assert_eq!(found(&system).unwrap_err().code(), "document-ambiguous");
        }
    }

    #[test]
    fn no_document_is_refused_after_waiting_for_disks() {
        let system = Fake::default();
        assert_eq!(found(&system).unwrap_err().code(), "document-missing");
        assert!(*system.waits.borrow() > 1);
        let late = Fake { late_disks: vec![(2, "nvme0n1".to_owned(), wrapped(&toml(), None))], ..Fake::default() };
        assert_eq!(found(&late).unwrap().source, Source::Disk);
    }

    #[test]
    fn a_document_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let mut bytes = toml();
        bytes.resize(MAX_BYTES, b'\n');
        assert!(found(&with_files(&[(FW_CFG, &bytes)])).is_ok());
        bytes.push(b'\n');
        assert_eq!(found(&with_files(&[(FW_CFG, &bytes)])).unwrap_err().code(), "document-too-long");
        bytes.resize(1 << 20, b'\n');
        assert_eq!(found(&with_files(&[(FW_CFG, &bytes)])).unwrap_err().code(), "document-too-long");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let mut bytes = toml();
        bytes.extend_from_slice(b"[limits]\nbody_byte = 1\n");
        let refused = found(&with_files(&[(FW_CFG, &bytes)])).unwrap_err();
        assert_eq!(refused.code(), "document-invalid");
        assert!(refused.reason().contains("body_byte"), "{refused}");
    }

    #[test]
    fn a_disk_whose_length_lies_is_refused() {
        let mut disk = wrapped(&toml(), None);
        disk[8] = disk[8].wrapping_sub(1);
        let system = Fake { disks: [("vda".to_owned(), disk)].into(), ..Fake::default() };
        assert_eq!(found(&system).unwrap_err().code(), "document-disk");
    }

    #[test]
    fn a_place_that_cannot_be_read_is_no_place_without_a_document() {
        let system = Fake { fails: Some(Call::Read(FW_CFG.to_owned())), ..with_files(&[(BAKED, &toml())]) };
        assert_eq!(found(&system).unwrap_err().code(), "document-read");
    }

    #[test]
    fn whatever_cannot_be_read_is_called_by_its_name() {
        for (path, code, what) in [
            (FW_CFG, "document-read", "the deployment document"),
            (ENDORSEMENTS, "endorsements", "the endorsements"),
            (SEALED, "sealed-secrets", "the sealed secrets"),
        ] {
            let system = Fake { fails: Some(Call::Read(path.to_owned())), ..with_files(&[(FW_CFG, &toml())]) };
            let refused = found(&system).unwrap_err();
            assert_eq!(refused.code(), code);
            assert!(refused.reason().contains(&format!("cannot read {what} from fw_cfg")), "{refused}");
        }
        assert!(found(&with_files(&[(FW_CFG, &toml())])).is_ok());
    }

    #[test]
    fn fw_cfg_is_opened_once() {
        let system = with_files(&[(FW_CFG, &toml())]);
        found(&system).unwrap();
        let reads = system.calls().iter().filter(|call| **call == Call::Read(FW_CFG.to_owned())).count();
        assert_eq!(reads, 1);
    }

    #[test]
    fn endorsements_come_from_fw_cfg_or_the_disk_and_not_from_both() {
        let toml = toml();
        let with = |toml: Option<&[u8]>, beside: Option<&[u8]>, disk: Option<Vec<u8>>| {
            let files = [(FW_CFG, toml), (ENDORSEMENTS, beside)];
            let files: Vec<_> = files.into_iter().filter_map(|(path, bytes)| Some((path, bytes?))).collect();
            Fake { disks: disk.into_iter().map(|disk| ("vda".to_owned(), disk)).collect(), ..with_files(&files) }
        };
        let disk = || Some(wrapped(&toml, Some(b"vendors")));
        assert_eq!(found(&with(Some(&toml), None, None)).unwrap().endorsements, None);
        assert_eq!(found(&with(Some(&toml), Some(b"v"), None)).unwrap().endorsements.as_deref(), Some(&b"v"[..]));
        assert_eq!(found(&with(None, None, disk())).unwrap().endorsements.as_deref(), Some(&b"vendors"[..]));
        assert_eq!(found(&with(None, Some(b"v"), disk())).unwrap_err().code(), "endorsements");
        let most = vec![7; ENDORSEMENTS_MAX_BYTES];
        assert!(found(&with(Some(&toml), Some(&most), None)).is_ok());
        let more = [&most[..], &[7]].concat();
        assert_eq!(found(&with(Some(&toml), Some(&more), None)).unwrap_err().code(), "endorsements");
        assert!(found(&with(None, None, Some(wrapped(&toml, Some(&most))))).is_ok());
        assert_eq!(
            found(&with(None, None, Some(wrapped(&toml, Some(&more))))).unwrap_err().code(),
            "document-disk",
            "on a disk too"
        );
    }

    #[test]
    fn sealed_secrets_are_taken_as_they_are_up_to_their_limit() {
        let toml = toml();
        let with = |length: usize| with_files(&[(FW_CFG, &toml), (SEALED, &vec![7; length])]);
        assert_eq!(found(&with_files(&[(FW_CFG, &toml)])).unwrap().sealed, None);
        assert_eq!(found(&with(MAX_SEALED)).unwrap().sealed, Some(vec![7; MAX_SEALED]));
        assert_eq!(found(&with(MAX_SEALED + 1)).unwrap_err().code(), "sealed-secrets");
    }
}
