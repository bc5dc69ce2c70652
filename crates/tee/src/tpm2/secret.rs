//! The secret of this TPM, firmware, image and document: what a key answers that works only while the registers are as they are.
//!
//! The key is a primary HMAC key of the owner hierarchy. Its template carries a policy over [`SEALED_TO`], so other registers make
//! another key; whoever rebuilds the template of this one cannot use it, because the policy looks at the registers again and no
//! password stands in for it. The key never leaves the TPM and is made anew at each boot from a seed that only clearing the
//! TPM changes.
//!
//! Source: TCG, "TPM 2.0 Library", part 1 (19.7 policies, 23 primary objects), part 3 (`TPM2_PolicyPCR`, `TPM2_HMAC`).

use sha2::{Digest as _, Sha256};
use tpm2_protocol::basic::TpmHandle;
use tpm2_protocol::constant::TPM_MAX_COMMAND_SIZE;
use tpm2_protocol::data::{
    Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bMaxBuffer, Tpm2bNonce, Tpm2bPublic, Tpm2bSensitiveCreate,
    TpmAlgId, TpmCc, TpmRh, TpmSe, TpmaObject, TpmlPcrSelection, TpmsKeyedhashParms, TpmsSchemeHash,
    TpmtKeyedhashScheme, TpmtPublic, TpmtSymDefObject, TpmuKeyedhashScheme, TpmuPublicId, TpmuPublicParms,
};
use tpm2_protocol::frame::{
    TpmCreatePrimaryCommand, TpmCreatePrimaryResponse, TpmFlushContextCommand, TpmFlushContextResponse, TpmHmacCommand,
    TpmPolicyPcrCommand, TpmPolicyPcrResponse, TpmStartAuthSessionCommand, TpmStartAuthSessionResponse,
};
use tpm2_protocol::{TpmMarshal as _, TpmWriter};
use zeroize::Zeroizing;

use super::command::{self, Authorization, run};
use super::device::Transport;
use super::error::TpmError;
use super::registers;
use crate::{Bank, Secret};

/// Registers of the SHA-256 bank that the secret depends on: firmware (0), drivers and their data (2, 3), the image (4, on Google 2),
/// Secure Boot (7), what the kernel's loader measures (8, 9), systemd's stub (11), the document (12), and [`LAST_REGISTER`].
/// Left out are those that say how the machine is furnished: 1 (settings, boot order), 5 (partitions), 6 (the maker's).
pub const SEALED_TO: [u8; 10] = [0, 2, 3, 4, 7, 8, 9, 11, registers::DOCUMENT_REGISTER, LAST_REGISTER];
/// The register that is extended once the secret is there, so that nobody gets it again before the TPM is reset.
/// No quote covers it: it says nothing of what runs.
pub const LAST_REGISTER: u8 = 15;
/// What [`LAST_REGISTER`] is extended with.
pub const LAST: &[u8] = b"lethe derived secret v1: taken";
/// What the key is asked about.
pub const LABEL: &[u8] = b"lethe derived secret v1";

const SESSION: &str = "StartAuthSession";
const HMAC: &str = "HMAC";
/// Bytes of a nonce, at least 16. The session authorises by its policy alone: nothing is keyed with it.
const NONCE: [u8; 16] = [0; 16];

/// Takes the secret and closes the way to it. Registers have to be as they stay: the document is measured before.
///
/// # Errors
/// [`TpmError`]; there is no secret then, but the way to it is closed wherever the TPM allows.
pub(super) fn take(transport: &mut dyn Transport, banks: &[Bank]) -> Result<Secret, TpmError> {
    let secret = derive(transport);
    let closed = registers::extend(transport, banks, LAST_REGISTER, LAST);
    let secret = secret?;
    closed.map(|()| secret)
}

fn derive(transport: &mut dyn Transport) -> Result<Secret, TpmError> {
    let mut values = registers::read(transport, &[Bank::Sha256], &SEALED_TO)?;
    let values = values.remove(&Bank::Sha256).unwrap_or_default();
    let policy = Policy::over(&values.into_values().collect::<Vec<_>>().concat())?;
    let key = create(transport, &policy)?;
    let secret = ask(transport, key, &policy);
    flushed(transport, key, secret)
}

/// What a policy session has to see before the key may be used.
struct Policy {
    selection: TpmlPcrSelection,
    registers: Tpm2bDigest,
    digest: Tpm2bDigest,
}

impl Policy {
    /// `TPM2_PolicyPCR` over these values, one behind the other in the order of their registers, and nothing else.
    fn over(values: &[u8]) -> Result<Self, TpmError> {
        const NAME: &str = "PolicyPCR";
        let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(NAME, format_args!("{error:?}"));
        let selection = registers::selection(&[(Bank::Sha256, SEALED_TO.to_vec())], NAME)?;
        let mut buffer = [0; TPM_MAX_COMMAND_SIZE];
        let mut writer = TpmWriter::new(&mut buffer);
        selection.marshal(&mut writer).map_err(malformed)?;
        let registers = Sha256::digest(values);
        let digest = Sha256::new()
            .chain_update([0; 32])
            .chain_update(TpmCc::PolicyPcr.value().to_be_bytes())
            .chain_update(writer.as_bytes())
            .chain_update(registers)
            .finalize();
        let bytes = |digest: &[u8]| Tpm2bDigest::try_from(digest).map_err(malformed);
        Ok(Self { selection, registers: bytes(&registers)?, digest: bytes(&digest)? })
    }
}

/// What the key may do: sign, with the policy and never with a password, inside of this TPM.
fn attributes() -> TpmaObject {
    TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::SENSITIVE_DATA_ORIGIN
        | TpmaObject::ADMIN_WITH_POLICY
        | TpmaObject::NO_DA
        | TpmaObject::SIGN_ENCRYPT
}

fn create(transport: &mut dyn Transport, policy: &Policy) -> Result<TpmHandle, TpmError> {
    let details = TpmuKeyedhashScheme::Hmac(TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 });
    let scheme = TpmtKeyedhashScheme { scheme: TpmAlgId::Hmac, details };
    let template = TpmtPublic {
        object_type: TpmAlgId::KeyedHash,
        name_alg: TpmAlgId::Sha256,
        object_attributes: attributes(),
        auth_policy: policy.digest,
        parameters: TpmuPublicParms::KeyedHash(TpmsKeyedhashParms { scheme }),
        unique: TpmuPublicId::KeyedHash(Tpm2bDigest::default()),
    };
    let command = TpmCreatePrimaryCommand {
        handles: [TpmHandle::new(TpmRh::Owner.value())],
        in_sensitive: Tpm2bSensitiveCreate::default(),
        in_public: Tpm2bPublic { inner: template },
        outside_info: Tpm2bData::default(),
        creation_pcr: TpmlPcrSelection::new(),
    };
    let response: TpmCreatePrimaryResponse = run(transport, "CreatePrimary", &command, Authorization::Empty)?;
    let [key] = response.handles;
    Ok(key)
}

/// Opens a policy session, has the TPM look at the registers, and asks the key.
fn ask(transport: &mut dyn Transport, key: TpmHandle, policy: &Policy) -> Result<Secret, TpmError> {
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(SESSION, format_args!("{error:?}"));
    let nobody = TpmHandle::new(TpmRh::Null.value());
    let command = TpmStartAuthSessionCommand {
        handles: [nobody, nobody],
        nonce_caller: Tpm2bNonce::try_from(NONCE.as_slice()).map_err(malformed)?,
        encrypted_salt: Tpm2bEncryptedSecret::default(),
        session_type: TpmSe::Policy,
        symmetric: TpmtSymDefObject { algorithm: TpmAlgId::Null, ..TpmtSymDefObject::default() },
        auth_hash: TpmAlgId::Sha256,
    };
    let response: TpmStartAuthSessionResponse = run(transport, SESSION, &command, Authorization::None)?;
    let [session] = response.handles;
    let command = TpmPolicyPcrCommand { handles: [session], pcr_digest: policy.registers, pcrs: policy.selection };
    let seen = run::<TpmPolicyPcrResponse>(transport, "PolicyPCR", &command, Authorization::None);
    let secret = seen.and_then(|_| hmac(transport, key, session));
    flushed(transport, session, secret)
}

fn hmac(transport: &mut dyn Transport, key: TpmHandle, session: TpmHandle) -> Result<Secret, TpmError> {
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(HMAC, format_args!("{error:?}"));
    let buffer = Tpm2bMaxBuffer::try_from(LABEL).map_err(malformed)?;
    let command = TpmHmacCommand { handles: [key], buffer, hash_alg: TpmAlgId::Sha256 };
    let answer = Zeroizing::new(command::send(transport, HMAC, &command, Authorization::Policy(session))?);
    // Read in place: the marshaller's structures are copied about and not wiped, and its errors quote what they met.
    let digest = command::parameters(&answer).and_then(|bytes| bytes.strip_prefix(&[0, 32]));
    let digest = digest.and_then(<[u8]>::as_array::<32>).ok_or_else(|| TpmError::malformed(HMAC, "another length"))?;
    let mut secret = Secret::default();
    secret.copy_from_slice(digest);
    Ok(secret)
}

/// Takes a key or a session out of the TPM, whatever came of it.
fn flushed<T>(transport: &mut dyn Transport, handle: TpmHandle, done: Result<T, TpmError>) -> Result<T, TpmError> {
    let command = TpmFlushContextCommand { handles: [], flush_handle: handle };
    let flushed = run::<TpmFlushContextResponse>(transport, "FlushContext", &command, Authorization::None);
    let done = done?;
    flushed.map(|_| done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm2::QUOTED;

    #[test]
    fn the_policy_is_the_one_of_the_specification() {
        let values = [7; 32 * SEALED_TO.len()];
        let policy = Policy::over(&values).unwrap();
        let selection = [0, 0, 0, 1, 0, 0x0b, 3, 0x9d, 0x9b, 0x00];
        let digest = Sha256::new()
            .chain_update([0; 32])
            .chain_update([0, 0, 1, 0x7f])
            .chain_update(selection)
            .chain_update(Sha256::digest(values))
            .finalize();
        assert_eq!(&*policy.digest, digest.as_slice());
        assert_ne!(Policy::over(&[8; 32 * SEALED_TO.len()]).unwrap().digest, policy.digest);
    }

    #[test]
    fn no_password_opens_the_key_and_it_stays_in_its_tpm() {
        assert!(!attributes().contains(TpmaObject::USER_WITH_AUTH));
        assert!(
            attributes().contains(TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::ADMIN_WITH_POLICY)
        );
    }

    #[test]
    fn no_quote_covers_the_register_that_closes_the_way() {
        assert!(!QUOTED.contains(&LAST_REGISTER) && SEALED_TO.contains(&LAST_REGISTER));
        assert!(SEALED_TO.is_sorted(), "values are hashed in the order of their registers");
    }
}
