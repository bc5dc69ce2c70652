//! Files that the command line names: read up to a limit, written as a whole or not at all.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

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

fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, UsageError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 > limit => Err(UsageError::TooLarge { path: path.display().to_string(), limit }),
        Ok(_) => Ok(bytes),
        Err(source) => Err(UsageError::File { what: "read", path: path.display().to_string(), source }),
    }
}

/// Writes a file that anybody may read: beside its place and renamed into it, so that a program sees all of it or none.
///
/// # Errors
/// [`UsageError::File`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), UsageError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().permissions(readable_by_all()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| UsageError::File { what: "write", path: path.display().to_string(), source })
}

/// What is written is public, and often for a program of another user; the umask still takes away what it takes away.
fn readable_by_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

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
