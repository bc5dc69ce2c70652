//! An entry that behaves as the kernel's does, without a platform behind it.

use std::io;
use std::sync::{Arc, Mutex};

use super::Entry;

/// What the fake is asked to do wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// So often somebody else writes between a request and its answer.
    pub(crate) intruders: u32,
    /// So often the answer is "busy".
    pub(crate) busy: u32,
    /// The answer is this error number, once and for all.
    pub(crate) broken: Option<i32>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) inblob: Vec<u8>,
    pub(crate) faults: Faults,
    pub(crate) requests: u32,
    pub(crate) privilege: Option<Vec<u8>>,
}

/// The entry; `answer` makes a report of the request.
#[derive(Clone)]
pub(crate) struct FakeEntry {
    pub(crate) provider: &'static str,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) answer: fn(&[u8]) -> Vec<u8>,
    pub(crate) certificates: Option<Vec<u8>>,
}

impl FakeEntry {
    pub(crate) fn new(provider: &'static str, answer: fn(&[u8]) -> Vec<u8>) -> Self {
        Self { provider, state: Arc::default(), answer, certificates: None }
    }
}

impl Entry for FakeEntry {
    fn read(&self, file: &'static str, limit: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        let bytes = match file {
            "provider" => format!("{}\n", self.provider).into_bytes(),
            "generation" => format!("{}\n", state.generation).into_bytes(),
            "outblob" => {
                state.requests += 1;
                if let Some(number) = state.faults.broken {
                    return Err(io::Error::from_raw_os_error(number));
                }
                if state.faults.busy > 0 {
                    state.faults.busy -= 1;
                    return Err(io::Error::from_raw_os_error(libc::EBUSY));
                }
                if state.faults.intruders > 0 {
                    state.faults.intruders -= 1;
                    state.generation += 1;
                    state.inblob = vec![0xEE; 64];
                }
                (self.answer)(&state.inblob)
            }
            "auxblob" => self.certificates.clone().ok_or(io::ErrorKind::NotFound)?,
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        if bytes.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn write(&self, file: &'static str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        match file {
            "inblob" => state.inblob = bytes.to_vec(),
            "privlevel" => state.privilege = Some(bytes.to_vec()),
            _ => return Err(io::ErrorKind::PermissionDenied.into()),
        }
        state.generation += 1;
        Ok(())
    }
}
