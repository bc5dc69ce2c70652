//! The UNIX socket's file: who may use it, what lies in its place, and its end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};

use crate::boot::serving::{BoundSocket, ServingError, bind_unix};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another server answers there.
    #[error("{path}: another server answers on this socket")]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{path}: there is something that is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group does not exist.
    #[error("no group {name}")]
    Group {
        /// As given.
        name: String,
    },
    /// Its mode or group cannot be set, or what lies there cannot be removed.
    #[error("{path}: cannot {what}")]
    File {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be bound.
    #[error(transparent)]
    Bind(#[from] ServingError),
}

/// The file of a bound socket; dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
}

impl SocketFile {
    /// The directory it lies in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What is left would be found and removed as stale at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds a socket at `path`, for its owner and for `group`. One that a dead server left there is removed.
///
/// # Errors
/// [`SocketError`]
pub fn create(path: &Path, group: Option<&str>) -> Result<(BoundSocket, SocketFile), SocketError> {
    let group = group.map(group_id).transpose()?;
    let failed = |what| {
        let path = path.to_owned();
        move |source| SocketError::File { path, what, source }
    };
    remove_stale(path)?;
    // Nobody but the owner can connect until the group is set, and nobody at all before the server listens.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = bind_unix(path);
    umask(before);
    let (socket, file) = (bound?, SocketFile { path: path.to_owned() });
    if group.is_some() {
        chown(path, None, group).map_err(failed("give the socket to the group"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed("set the socket's mode"))?;
    Ok((socket, file))
}

/// Removes a socket that nobody answers on; anything else in that place stays and is an error.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::File { path: path.to_owned(), what: "look at the path", source }),
    };
    if !kind.is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(|source| {
            SocketError::File { path: path.to_owned(), what: "remove the socket of a server that ended", source }
        }),
        Ok(_) => Err(SocketError::Busy { path: path.to_owned() }),
        Err(source) => Err(SocketError::File { path: path.to_owned(), what: "ask who listens on the socket", source }),
    }
}

/// A number, or a name in /etc/group: the name service of the C library would load shared libraries.
fn group_id(name: &str) -> Result<u32, SocketError> {
    let unknown = || SocketError::Group { name: name.to_owned() };
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let groups = fs::read_to_string("/etc/group").map_err(|_| unknown())?;
    find_group(&groups, name).ok_or_else(unknown)
}

/// `name:password:id:members`
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    /// A directory of this test's own, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lethe-socket-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_is_gone_at_the_end() {
        let directory = Directory::new("mode");
        let path = directory.0.join("s");
        let own_group = fs::metadata(&directory.0).unwrap().gid().to_string();
        let (socket, file) = create(&path, Some(&own_group)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o660);
        assert_eq!(metadata.gid().to_string(), own_group);
        assert_eq!(file.directory(), directory.0);
        assert!(UnixStream::connect(&path).is_err(), "bound, but nobody listens before the lockdown");
        drop((socket, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_a_dead_server_left_is_replaced() {
        let directory = Directory::new("stale");
        let path = directory.0.join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        create(&path, None).unwrap();
    }

    #[test]
    fn a_socket_that_somebody_answers_on_is_left_alone() {
        let directory = Directory::new("busy");
        let path = directory.0.join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(create(&path, None), Err(SocketError::Busy { .. })));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_file_or_a_link_in_its_place_is_left_alone() {
        let directory = Directory::new("file");
        let (file, link) = (directory.0.join("f"), directory.0.join("l"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(create(path, None), Err(SocketError::NotASocket { .. })));
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn groups_are_found_by_exact_name_and_unknown_ones_are_refused() {
        let groups = "root:x:0:\nlethe-users:x:998:a,b\nlethe:x:999:a\nbroken\n";
        assert_eq!(find_group(groups, "lethe"), Some(999));
        assert_eq!(find_group(groups, "leth"), None);
        assert_eq!(find_group(groups, "broken"), None);
        assert!(matches!(group_id("no-such-group-here"), Err(SocketError::Group { .. })));
    }
}
