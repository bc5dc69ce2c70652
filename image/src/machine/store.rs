//! The directory of machines, and the lock that tells whether one runs.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::Error;
use super::name::Name;
use super::record::Record;

/// The lock's file in a machine's directory.
const LOCK: &str = "lock";
/// `list` holds a lock for an instant; whoever wants the machine tries this often, this far apart.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The machines of this user: `$XDG_STATE_HOME/lethe/machines`, or `~/.local/state/lethe/machines`.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A machine's directory, held by this process: nobody else starts, changes or deletes it.
#[derive(Debug)]
pub struct Claim {
    directory: PathBuf,
    _lock: File,
}

impl Claim {
    /// The machine's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes the machine with everything that was remembered of it.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn delete(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.directory).map_err(Error::file("delete", &self.directory))
    }
}

impl Store {
    /// The store of this user. The directory is made when the first machine is.
    ///
    /// # Errors
    /// If the environment names no home.
    pub fn of_user() -> Result<Self, Error> {
        let root = user_directory("XDG_STATE_HOME", ".local/state").ok_or(Error::NoHome)?;
        Ok(Self::at(root.join("lethe/machines")))
    }

    /// A store in this directory.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where a machine of this name lies, or would lie.
    #[must_use]
    pub fn directory(&self, name: &Name) -> PathBuf {
        self.root.join(name)
    }

    /// All machines, by name.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn names(&self) -> Result<Vec<Name>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", &self.root)(error)),
        };
        let mut names: Vec<Name> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Whether a supervisor holds the machine.
    #[must_use]
    pub fn is_running(&self, name: &Name) -> bool {
        let Ok(lock) = File::open(self.directory(name).join(LOCK)) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The machine's record, with its state judged by whether it runs.
    ///
    /// # Errors
    /// If there is no such machine or its record does not read.
    pub fn record(&self, name: &Name) -> Result<Record, Error> {
        let directory = self.directory(name);
        if !directory.is_dir() {
            return Err(Error::Unknown { name: name.clone() });
        }
        // Judged before it is read: a supervisor writes its last word before it lets go.
        let running = self.is_running(name);
        let mut record = Record::load(&directory, name)?;
        record.state = record.state.judged(running);
        Ok(record)
    }

    /// Takes a new or stopped machine; its directory exists afterwards.
    ///
    /// # Errors
    /// [`Error::Running`] if it is held by another process.
    pub fn claim(&self, name: &Name) -> Result<Claim, Error> {
        let directory = self.directory(name);
        for _ in 0..TRIES {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(Error::file("create", &directory))?;
            if let Some(lock) = try_lock(&directory)? {
                return Ok(Claim { directory, _lock: lock });
            }
            sleep(BETWEEN_TRIES);
        }
        Err(Error::Running { name: name.clone() })
    }

    /// Takes a stopped machine that exists.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Running`].
    pub fn claim_existing(&self, name: &Name) -> Result<Claim, Error> {
        if !self.directory(name).is_dir() {
            return Err(Error::Unknown { name: name.clone() });
        }
        self.claim(name)
    }

    /// Takes the first free name `lethe-1`, `lethe-2`, …
    ///
    /// # Errors
    /// If a directory cannot be made.
    pub fn claim_any(&self) -> Result<(Name, Claim), Error> {
        let mut number = 1_u32;
        loop {
            let Ok(name) = format!("lethe-{number}").parse::<Name>() else { return Err(Error::NoHome) };
            if !self.directory(&name).exists() {
                match self.claim(&name) {
                    Ok(claim) => return Ok((name, claim)),
                    Err(Error::Running { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            number = number.saturating_add(1);
        }
    }

    /// Removes what killed foreground machines without a name have left.
    pub fn sweep(&self) {
        for name in self.names().unwrap_or_default() {
            let leftover = |record: Record| record.ephemeral && !self.is_running(&name);
            if self.record(&name).is_ok_and(leftover)
                && let Ok(claim) = self.claim_existing(&name)
            {
                let _ = claim.delete();
            }
        }
    }
}

/// The lock of a machine's directory; none if it is held, or was deleted while we took it.
fn try_lock(directory: &Path) -> Result<Option<File>, Error> {
    let path = directory.join(LOCK);
    let lock = match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open", &path)(error)),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
    }
    let held = lock.metadata().map_err(Error::file("read", &path))?;
    let there = fs::metadata(&path).is_ok_and(|facts| (facts.dev(), facts.ino()) == (held.dev(), held.ino()));
    Ok(there.then_some(lock))
}

/// A directory of the user by the XDG rules: the variable if it is an absolute path, else a place below `HOME`.
#[must_use]
pub fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::{State, example};

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path().join("machines"));
        (root, store)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_claimed_machine_is_running_and_cannot_be_claimed_again() {
        let (_root, store) = store();
        let claim = store.claim(&name("demo")).unwrap();
        assert!(store.is_running(&name("demo")));
        assert!(matches!(store.claim(&name("demo")), Err(Error::Running { .. })));
        drop(claim);
        assert!(!store.is_running(&name("demo")));
        store.claim(&name("demo")).unwrap();
    }

    #[test]
    fn what_does_not_exist_is_unknown_and_does_not_come_into_being() {
        let (_root, store) = store();
        assert!(matches!(store.claim_existing(&name("demo")), Err(Error::Unknown { .. })));
        assert!(matches!(store.record(&name("demo")), Err(Error::Unknown { .. })));
        assert_eq!(store.names().unwrap(), Vec::new());
        assert!(!store.is_running(&name("demo")));
    }

    #[test]
    fn unnamed_machines_get_different_names() {
        let (_root, store) = store();
        let (first, _first_claim) = store.claim_any().unwrap();
        let (second, _second_claim) = store.claim_any().unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("lethe-1", "lethe-2"));
    }

    #[test]
    fn many_at_once_claim_one_machine_once() {
        let (_root, store) = store();
        let claims: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store.claim(&name("demo")))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    }

    #[test]
    fn a_deleted_machine_is_gone_and_its_name_is_free() {
        let (_root, store) = store();
        store.claim(&name("demo")).unwrap().delete().unwrap();
        assert_eq!(store.names().unwrap(), Vec::new());
        store.claim(&name("demo")).unwrap();
    }

    #[test]
    fn only_leftovers_are_swept() {
        let (_root, store) = store();
        for (text, ephemeral) in [("kept", false), ("left", true), ("held", true)] {
            let claim = store.claim(&name(text)).unwrap();
            crate::machine::record::Record { ephemeral, ..example(text) }.save(claim.directory()).unwrap();
        }
        let _held = store.claim(&name("held")).unwrap();
        store.sweep();
        assert_eq!(store.names().unwrap(), [name("held"), name("kept")]);
    }

    #[test]
    fn a_record_is_judged_by_whether_the_machine_is_held() {
        let (_root, store) = store();
        let claim = store.claim(&name("demo")).unwrap();
        example("demo").save(claim.directory()).unwrap();
        assert_eq!(store.record(&name("demo")).unwrap().state, State::Ready);
        drop(claim);
        assert_eq!(store.record(&name("demo")).unwrap().state, State::Died);
    }
}
