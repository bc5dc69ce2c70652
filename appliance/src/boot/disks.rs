//! The host's disks, told apart by their first bytes alone: the one with the model, the one with the document.

use std::io::{self, Read};

use super::system::{Disk, System};

/// Most block devices that are looked at; a host that offers more is refused.
const MAX_DEVICES: usize = 64;

const GGUF: &[u8] = b"GGUF";
const DOCUMENT: &[u8] = b"LETHECFG";

/// What a disk's first bytes say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A GGUF file from the first byte.
    Model,
    /// A deployment document (`LETHECFG`).
    Document,
}

impl Content {
    fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(DOCUMENT) {
            Some(Self::Document)
        } else if start.starts_with(GGUF) {
            Some(Self::Model)
        } else {
            None
        }
    }
}

/// Why no disk could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The kernel's list of block devices cannot be read.
    #[error("cannot list the block devices")]
    List(#[source] io::Error),
    /// There are too many.
    #[error("the host offers {found} block devices, at most {MAX_DEVICES} are looked at")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A disk cannot be read.
    #[error("cannot read the start of {device}")]
    Read {
        /// Its name.
        device: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two disks carry the same kind of content.
    #[error("both {first} and {second} carry one")]
    Ambiguous {
        /// First in name order.
        first: String,
        /// Second in name order.
        second: String,
    },
}

/// Opens the one disk or partition with this content; `None` if there is none.
///
/// A disk that cannot be read is an error rather than a disk of another kind: the answer would depend on the host's
/// timing.
///
/// # Errors
/// [`DiskError`] if the disks cannot be read, or more than one has the content.
pub fn find<S: System>(system: &S, content: Content) -> Result<Option<(String, S::Disk)>, DiskError> {
    let mut found: Option<(String, S::Disk)> = None;
    for device in devices(system)? {
        let read = |source| DiskError::Read { device: device.clone(), source };
        let mut disk = system.open_disk(&device).map_err(read)?;
        // An empty drive, or a partition too short to carry anything.
        if disk.length().map_err(read)? < 8 {
            continue;
        }
        let mut start = [0_u8; 8];
        disk.read_exact(&mut start).map_err(read)?;
        if Content::of(&start) != Some(content) {
            continue;
        }
        if let Some((first, _)) = found {
            return Err(DiskError::Ambiguous { first, second: device });
        }
        let disk = system.open_disk(&device).map_err(read)?;
        found = Some((device, disk));
    }
    Ok(found)
}

/// As [`find`], and waits while devices may still appear.
///
/// # Errors
/// As [`find`].
pub fn wait_for<S: System>(system: &S, content: Content) -> Result<Option<(String, S::Disk)>, DiskError> {
    loop {
        let found = find(system, content)?;
        if found.is_some() || !system.wait_for_devices() {
            return Ok(found);
        }
    }
}

/// Names of virtio-blk and NVMe disks and their partitions, in order.
fn devices(system: &impl System) -> Result<Vec<String>, DiskError> {
    let mut devices = system.block_devices().map_err(DiskError::List)?;
    devices.retain(|name| is_disk(name));
    if devices.len() > MAX_DEVICES {
        return Err(DiskError::TooMany { found: devices.len() });
    }
    devices.sort();
    devices.dedup();
    Ok(devices)
}

/// Whether a name of the kernel's is a virtio-blk (`vda`, `vda1`) or NVMe (`nvme0n1`, `nvme0n1p1`) disk or partition.
fn is_disk(name: &str) -> bool {
    if name.len() > 16 {
        return false;
    }
    if let Some(rest) = name.strip_prefix("vd") {
        let partition = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        return partition.len() < rest.len() && partition.bytes().all(|byte| byte.is_ascii_digit());
    }
    name.strip_prefix("nvme").is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.contains('n')
            && rest.chars().all(|c| c.is_ascii_digit() || c == 'n' || c == 'p')
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn disk(start: &[u8]) -> Vec<u8> {
        let mut bytes = start.to_vec();
        bytes.resize(1024, 0);
        bytes
    }

    fn fake(disks: &[(&str, &[u8])]) -> Fake {
        Fake { disks: disks.iter().map(|(name, start)| ((*name).to_owned(), disk(start))).collect(), ..Fake::default() }
    }

    fn name_of(system: &Fake, content: Content) -> Option<String> {
        find(system, content).unwrap().map(|(name, _)| name)
    }

    #[test]
    fn disks_are_told_apart_by_their_first_bytes() {
        let system = fake(&[("vda", b"\xEBfat"), ("nvme0n1", b"GGUF\x03"), ("vdb2", b"LETHECFG")]);
        assert_eq!(name_of(&system, Content::Model).as_deref(), Some("nvme0n1"));
        assert_eq!(name_of(&system, Content::Document).as_deref(), Some("vdb2"));
    }

    #[test]
    fn the_disk_is_handed_over_from_its_first_byte() {
        let system = fake(&[("vda", b"GGUF\x03")]);
        let (_, mut disk) = find(&system, Content::Model).unwrap().unwrap();
        let mut start = [0; 5];
        disk.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"GGUF\x03");
    }

    #[test]
    fn no_disk_of_that_kind_is_no_error_and_never_a_guess() {
        let system = fake(&[("vda", b"\xEBfat"), ("sda", b"GGUF"), ("vdb", b"gguf")]);
        assert_eq!(name_of(&system, Content::Model), None);
    }

    #[test]
    fn two_disks_of_one_kind_are_refused() {
        let system = fake(&[("vda", b"GGUF"), ("vdb", b"GGUF")]);
        assert!(matches!(
            find(&system, Content::Model),
            Err(DiskError::Ambiguous { first, second }) if first == "vda" && second == "vdb"
        ));
    }

    #[test]
    fn a_disk_shorter_than_a_magic_is_passed_over() {
        let mut system = fake(&[("vdb", b"GGUF")]);
        system.disks.insert("vda".to_owned(), b"GGUF".to_vec());
        assert_eq!(name_of(&system, Content::Model).as_deref(), Some("vdb"));
    }

    #[test]
    fn more_disks_than_anybody_needs_are_refused() {
        let names: Vec<String> = (0..65).map(|n| format!("vda{n}")).collect();
        let system = fake(&names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect::<Vec<_>>());
        assert!(matches!(find(&system, Content::Model), Err(DiskError::TooMany { found: 65 })));
    }

    #[test]
    fn a_disk_that_appears_late_is_waited_for_but_not_for_ever() {
        let system = Fake { late_disks: vec![(2, "nvme0n1".to_owned(), disk(b"GGUF"))], ..Fake::default() };
        assert_eq!(wait_for(&system, Content::Model).unwrap().unwrap().0, "nvme0n1");
        assert!(wait_for(&Fake::default(), Content::Model).unwrap().is_none());
    }

    #[test]
    fn only_virtio_and_nvme_names_are_disks() {
        for name in ["vda", "vdaa", "vdb12", "nvme0n1", "nvme10n2p3"] {
            assert!(is_disk(name), "{name}");
        }
        for name in ["sda", "loop0", "ram0", "vd", "vd1", "vda1x", "nvme", "nvmen1", "nvme0", "../vda", "nvme0n1q1"] {
            assert!(!is_disk(name), "{name}");
        }
    }
}
