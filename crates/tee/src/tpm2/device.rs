//! The way to a TPM: bytes of a command in, bytes of its answer out.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

/// Longest answer, in bytes: the kernel's buffer (`TPM_BUFSIZE`).
const ANSWER_MAX_BYTES: usize = 4096;

/// A way to a TPM.
pub trait Transport: Send {
    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// The kernel's.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// `/dev/tpmrm0`, open. Keys made through it live as long as it is open, and nobody else can name them.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Takes the open device.
    #[must_use]
    pub const fn new(file: File) -> Self {
        Self(file)
    }
}

impl Transport for Device {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // One write carries the command and returns when the answer is there; one read takes it as a whole.
        if self.0.write(command)? != command.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answer = vec![0; ANSWER_MAX_BYTES];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}
