//! The mount table of PID 1, with the reason beside every line.

use std::io;

use nix::mount::MsFlags;

use super::{Refused, System};

/// One file system of the kernel, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// What the kernel calls it.
    pub fstype: &'static str,
    /// An empty directory of the initramfs, or one inside an earlier mount.
    pub target: &'static str,
    /// Flags of mount(2).
    pub flags: MsFlags,
    /// Options of the file system.
    pub options: Option<&'static str>,
}

/// No program in it is ever run, no set-user-id bit in it means anything.
const INERT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);

/// Everything that is mounted, in order. There is no /tmp, no /run, no disk and nothing writable that a program could
/// be put into: the root itself is the kernel's ramfs and is made read-only.
pub const MOUNTS: [Mount; 5] = [
    // /proc/swaps, /proc/self/fd (how the model's memory is named to the engine) and /proc/self/task (how the lockdown
    // is checked on every thread). hidepid=invisible, because no thread has business with another process.
    Mount {
        fstype: "proc",
        target: "/proc",
        flags: INERT.union(MsFlags::MS_NODEV),
        options: Some("hidepid=invisible"),
    },
    // The list of block devices, and the document from fw_cfg. Read-only; unmounted before serving.
    Mount {
        fstype: "sysfs",
        target: "/sys",
        flags: INERT.union(MsFlags::MS_NODEV).union(MsFlags::MS_RDONLY),
        options: None,
    },
    // The TPM's event log. Read-only; goes with /sys.
    Mount {
        fstype: "securityfs",
        target: "/sys/kernel/security",
        flags: INERT.union(MsFlags::MS_NODEV).union(MsFlags::MS_RDONLY),
        options: None,
    },
    // Reports of SEV-SNP and TDX are asked for by writing there. It goes with /sys; where it is needed while serving, one
    // directory of it stays open.
    Mount { fstype: "configfs", target: "/sys/kernel/config", flags: INERT.union(MsFlags::MS_NODEV), options: None },
    // Nodes of the disks and the TPM. The one mount where device nodes must work; unmounted before serving.
    Mount { fstype: "devtmpfs", target: "/dev", flags: INERT, options: None },
];

/// What serving does not need, with what is mounted inside. Open files in them (the console, the TPM) stay open.
pub const UNMOUNTED_BEFORE_SERVING: [&str; 2] = ["/sys", "/dev"];

/// Proof that [`MOUNTS`] are there.
#[derive(Debug)]
pub struct Mounted(());

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// It could not be made.
    #[error("cannot mount {fstype} on {target}")]
    Mount {
        /// Which.
        fstype: &'static str,
        /// Where.
        target: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The root stayed writable.
    #[error("cannot make the root read-only")]
    Root(#[source] io::Error),
    /// It could not be removed.
    #[error("cannot unmount {target}")]
    Unmount {
        /// Where.
        target: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<MountError> for Refused {
    fn from(error: MountError) -> Self {
        Self::new("mount", &error)
    }
}

/// Mounts the table.
///
/// # Errors
/// [`MountError::Mount`] at the first that fails; nothing later runs without all of them.
pub fn mount_all(system: &impl System) -> Result<Mounted, MountError> {
    for mount in &MOUNTS {
        system.mount(mount).map_err(|source| MountError::Mount {
            fstype: mount.fstype,
            target: mount.target,
            source,
        })?;
    }
    system.make_root_read_only().map_err(MountError::Root)?;
    Ok(Mounted(()))
}

/// Removes what serving does not need; afterwards no path leads to a device, or to the kernel's sysfs.
///
/// # Errors
/// [`MountError::Unmount`] at the first that fails.
pub fn unmount_unneeded(system: &impl System, _: Mounted) -> Result<(), MountError> {
    for target in UNMOUNTED_BEFORE_SERVING {
        system.unmount(target).map_err(|source| MountError::Unmount { target, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Call, Fake};
    use super::*;

    #[test]
    fn no_mount_runs_programs_or_honours_set_user_id() {
        for mount in &MOUNTS {
            assert!(mount.flags.contains(MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID), "{}", mount.target);
        }
    }

    #[test]
    fn only_dev_has_device_nodes() {
        for mount in &MOUNTS {
            assert_eq!(mount.flags.contains(MsFlags::MS_NODEV), mount.target != "/dev");
        }
    }

    #[test]
    fn the_table_is_mounted_in_order() {
        let system = Fake::default();
        mount_all(&system).unwrap();
        let targets = ["/proc", "/sys", "/sys/kernel/security", "/sys/kernel/config", "/dev"];
        let mut calls: Vec<_> = targets.map(|target| Call::Mount(target.to_owned())).into();
        calls.push(Call::RootReadOnly);
        assert_eq!(system.calls(), calls);
    }

    #[test]
    fn a_failed_mount_stops_the_boot_there() {
        let system = Fake { fails: Some(Call::Mount("/sys".to_owned())), ..Fake::default() };
        let refused = Refused::from(mount_all(&system).unwrap_err());
        assert_eq!(refused.code(), "mount");
        assert!(refused.reason().starts_with("cannot mount sysfs on /sys: "), "{refused}");
        assert_eq!(system.calls().len(), 2, "nothing later was tried");
    }

    #[test]
    fn sysfs_and_devices_are_gone_before_serving_and_a_failure_is_no_reason_to_go_on() {
        let system = Fake::default();
        let mounted = mount_all(&system).unwrap();
        unmount_unneeded(&system, mounted).unwrap();
        assert_eq!(&system.calls()[6..], ["/sys", "/dev"].map(|target| Call::Unmount(target.to_owned())));

        let system = Fake { fails: Some(Call::Unmount("/dev".to_owned())), ..Fake::default() };
        let mounted = mount_all(&system).unwrap();
        assert!(unmount_unneeded(&system, mounted).is_err());
    }
}
