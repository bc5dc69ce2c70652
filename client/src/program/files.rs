//! Files that the command line names: read up to a limit, written as a whole or not at all.

use std::{
    fs::{File, Permissions},
    io::{Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use zeroize::Zeroizing;

use crate::error::UsageError;

/// Largest file that is read, in bytes. Evidence and collateral are far smaller, and the verifier has narrower limits of its own.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Largest body of a request or an answer that is read, in bytes.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// The bytes of a file.
///
/// # Errors
/// [`UsageError::File`] if it cannot be read, [`UsageError::TooLarge`] if it is larger than anything that is checked.
pub fn read(path: &Path) -> Result<Vec<u8>, UsageError> {
    read_up_to(path, MAX_FILE_BYTES)
}

/// The bytes of a request or of an answer, which may be longer than evidence.
///
/// # Errors
/// As [`read`].
pub fn read_long(path: &Path) -> Result<Vec<u8>, UsageError> {
    read_up_to(path, MAX_BODY_BYTES)
}

/// The text of a file with a secret, as far as `limit` bytes: what is longer is no secret of the kind, and its reader says so. Room for all
/// of it is taken first, since a text that grows leaves copies.
///
/// # Errors
/// [`UsageError::File`].
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<String>, UsageError> {
    let failed = |source| UsageError::File { what: "read", path: path.display().to_string(), source };
    let mut text = Zeroizing::new(String::with_capacity(limit));
    File::open(path).and_then(|file| file.take(limit as u64).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}

fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, UsageError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 > limit => Err(UsageError::TooLarge { path: path.display().to_string(), limit }),
        Ok(_) => Ok(bytes),
        Err(source) => Err(UsageError::File { what: "read", path: path.display().to_string(), source }),
    }
}

/// Writes a file that anybody may read: what is written is public, and often for a program of another user; the umask still takes
/// away what it takes away.
///
/// # Errors
/// [`UsageError::File`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), UsageError> {
    write_with(0o644, path, bytes)
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// [`UsageError::File`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), UsageError> {
    write_with(0o600, path, bytes)
}

/// Beside its place and renamed into it, so that a program sees all of it or none.
fn write_with(mode: u32, path: &Path, bytes: &[u8]) -> Result<(), UsageError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let permissions = Permissions::from_mode(mode);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| UsageError::File { what: "write", path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_for_its_owner_alone_also_where_another_file_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        write(&path, b"public").unwrap();
        assert_eq!(mode() & 0o400, 0o400);
        write_private(&path, b"private").unwrap();
        assert_eq!((mode(), std::fs::read(&path).unwrap()), (0o600, b"private".to_vec()));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, MAX_FILE_BYTES);
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(UsageError::TooLarge { .. })));
        assert!(matches!(read(Path::new("/dev/zero")), Err(UsageError::TooLarge { .. })));
        assert!(matches!(read(folder.path()), Err(UsageError::File { .. })));
        assert!(matches!(read(&folder.path().join("none")), Err(UsageError::File { .. })));
    }
}
