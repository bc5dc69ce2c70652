//! Commands as bytes: `tpm2-protocol` marshals, this file sends.

use std::time::Duration;

use tpm2_protocol::basic::TpmHandle;
use tpm2_protocol::constant::TPM_MAX_COMMAND_SIZE;
use tpm2_protocol::data::{Tpm2bAuth, Tpm2bNonce, TpmRh, TpmSt, TpmaSession, TpmsAuthCommand};
use tpm2_protocol::frame::{TpmFrame, TpmResponse, TpmUnmarshalBody, tpm_marshal_command};
use tpm2_protocol::{TpmResult, TpmWriter};

use super::device::Transport;
use super::error::TpmError;

/// Codes that ask for the same command once more: `TPM_RC_YIELDED`, `TPM_RC_TESTING`, `TPM_RC_RETRY`.
const AGAIN: [u32; 3] = [0x908, 0x90A, 0x922];
/// How often that is followed, and how long after: half a second in all.
const ATTEMPTS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether a command authorises its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Nothing to authorise.
    None,
    /// With the empty password, which is what registers, hierarchies and our keys have.
    Empty,
    /// With a policy session, which stays open.
    Policy(TpmHandle),
}

/// Sends a command and reads its answer as a structure.
pub(super) fn run<R: TpmUnmarshalBody>(
    transport: &mut dyn Transport,
    name: &'static str,
    command: &impl TpmFrame,
    authorization: Authorization,
) -> Result<R, TpmError> {
    let answer = send(transport, name, command, authorization)?;
    read(&answer).map_err(|error| TpmError::malformed(name, format_args!("{error:?}")))
}

fn read<R: TpmUnmarshalBody>(answer: &[u8]) -> TpmResult<R> {
    TpmResponse::cast(answer)?.unmarshal()
}

/// Sends a command; the whole frame of an answer that reports success.
pub(super) fn send(
    transport: &mut dyn Transport,
    name: &'static str,
    command: &impl TpmFrame,
    authorization: Authorization,
) -> Result<Vec<u8>, TpmError> {
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(name, format_args!("{error:?}"));
    let mut buffer = [0; TPM_MAX_COMMAND_SIZE];
    let mut writer = TpmWriter::new(&mut buffer);
    match authorization {
        Authorization::None => tpm_marshal_command(command, TpmSt::NoSessions, &[], &mut writer),
        Authorization::Empty => tpm_marshal_command(command, TpmSt::Sessions, &[empty_password()], &mut writer),
        Authorization::Policy(session) => tpm_marshal_command(command, TpmSt::Sessions, &[by(session)], &mut writer),
    }
    .map_err(malformed)?;
    for attempt in 1.. {
        let answer =
            transport.transmit(writer.as_bytes()).map_err(|source| TpmError::Transport { command: name, source })?;
        // A code that the marshaller does not know is still a refusal, so it is read before the frame is judged.
        let code = answer.get(6..10).and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_be_bytes);
        match code {
            Some(0) => return Ok(answer),
            Some(code) if AGAIN.contains(&code) && attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Some(code) => return Err(TpmError::Refused { command: name, code }),
            None => break,
        }
    }
    Err(TpmError::malformed(name, "shorter than a header"))
}

/// A password session without a password.
fn empty_password() -> TpmsAuthCommand {
    TpmsAuthCommand { session_attributes: TpmaSession::empty(), ..by(TpmHandle::new(TpmRh::Pw.value())) }
}

/// A session that authorises without a value of its own, and stays open.
fn by(session_handle: TpmHandle) -> TpmsAuthCommand {
    TpmsAuthCommand {
        session_handle,
        nonce: Tpm2bNonce::default(),
        session_attributes: TpmaSession::CONTINUE_SESSION,
        hmac: Tpm2bAuth::default(),
    }
}

/// The parameters of an answer with a session, as bytes: behind the handles and their own length.
pub(super) fn parameters(answer: &[u8]) -> Option<&[u8]> {
    const HEADER_BYTES: usize = 10;
    let (length, rest) = answer.get(HEADER_BYTES..)?.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
