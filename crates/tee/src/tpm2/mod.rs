//! TPM 2.0: the document measured into PCR 12, a secret that only these registers give, quotes by a restricted key, the
//! firmware's event log.
//!
//! Source: TCG, "TPM 2.0 Library", parts 2 and 3; TCG, "PC Client Platform Firmware Profile".

mod command;
mod device;
mod error;
mod key;
mod registers;
mod secret;
mod spki;
mod storage;

pub use device::{Device, Transport};
pub use error::TpmError;
pub use registers::{DOCUMENT_REGISTER, QUOTED, Values, digest, extended_once, is_quoted};
pub use secret::{LABEL, LAST, LAST_REGISTER, SEALED_TO};

use std::sync::{Mutex, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};
use tpm2_protocol::TpmUnmarshal as _;
use tpm2_protocol::data::{Tpm2bData, TpmsAttest, TpmtSigScheme, TpmtSignature, TpmuAttest};
use tpm2_protocol::frame::TpmQuoteCommand;

use crate::{Bank, Binding, Evidence, Origin, Platform, ReportData, Secret, Tee, TeeError, Tpm2Evidence};
use command::Authorization;
use key::AttestationKey;

/// How often registers are read until they hash to a quote's digest.
const ATTEMPTS: usize = 3;
const QUOTE: &str = "Quote";

/// A machine with a TPM.
pub struct Tpm2 {
    transport: Mutex<Box<dyn Transport>>,
    banks: Vec<Bank>,
    key: AttestationKey,
    event_log: Vec<u8>,
    secret: OnceLock<Result<Secret, TeeError>>,
}

/// What a quote binds of the caller's 64 bytes: their SHA-256, because not every TPM takes more than 50 bytes.
#[must_use]
pub fn qualifying_data(report_data: &ReportData) -> [u8; 32] {
    Sha256::digest(report_data).into()
}

impl Tpm2 {
    /// Finds the banks and makes the attestation key.
    ///
    /// # Errors
    /// [`TpmError`] where the TPM has no SHA-256 bank or makes no key.
    pub fn open(transport: impl Transport + 'static, event_log: Vec<u8>) -> Result<Self, TpmError> {
        let mut transport: Box<dyn Transport> = Box::new(transport);
        let banks = registers::banks(&mut *transport)?;
        let key = key::make(&mut *transport)?;
        Ok(Self { transport: Mutex::new(transport), banks, key, event_log, secret: OnceLock::new() })
    }

    /// Banks with SHA-2 that are switched on.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// The attestation key's `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn ak(&self) -> &[u8] {
        &self.key.spki
    }

    /// Reads registers of all banks.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn read(&self, registers: &[u8]) -> Result<Values, TpmError> {
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        registers::read(&mut **transport, &self.banks, registers)
    }

    /// One quote over all quoted banks, with the values behind it.
    fn quote(&self, report_data: &ReportData) -> Result<Tpm2Evidence, TpmError> {
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        let banks: Vec<Bank> = self.banks.iter().copied().filter(|bank| is_quoted(*bank)).collect();
        for _ in 0..ATTEMPTS {
            let pcrs = registers::read(&mut **transport, &banks, &QUOTED)?;
            let signed = sign(&mut **transport, &self.key, &banks, &qualifying_data(report_data))?;
            if signed.covers(&pcrs) {
                return Ok(Tpm2Evidence {
                    quote: signed.quote,
                    signature: signed.signature,
                    ak: self.key.spki.clone(),
                    ak_certificate: self.key.certificate.clone(),
                    pcrs,
                    event_log: self.event_log.clone(),
                });
            }
        }
        Err(TpmError::Registers)
    }
}

/// A quote as the TPM gave it.
struct Signed {
    quote: Vec<u8>,
    signature: Vec<u8>,
    pcr_digest: Vec<u8>,
}

impl Signed {
    /// Whether these values are what was signed. The digest is the signature scheme's, SHA-256 for our templates.
    fn covers(&self, pcrs: &Values) -> bool {
        let values: Vec<&[u8]> = pcrs.values().flat_map(|bank| bank.values().map(Vec::as_slice)).collect();
        Sha256::digest(values.concat()).as_slice() == self.pcr_digest
    }
}

/// `TPM2_Quote`, its answer checked to be one: the bytes are passed on exactly as the TPM wrote them.
fn sign(
    transport: &mut dyn Transport,
    key: &AttestationKey,
    banks: &[Bank],
    qualifying_data: &[u8; 32],
) -> Result<Signed, TpmError> {
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(QUOTE, format_args!("{error:?}"));
    let selected: Vec<(Bank, Vec<u8>)> = banks.iter().map(|bank| (*bank, QUOTED.to_vec())).collect();
    let command = TpmQuoteCommand {
        handles: [key.handle],
        qualifying_data: Tpm2bData::try_from(qualifying_data.as_slice()).map_err(malformed)?,
        in_scheme: TpmtSigScheme::default(),
        pcr_select: registers::selection(&selected, QUOTE)?,
    };
    let answer = command::send(transport, QUOTE, &command, Authorization::Empty)?;
    let short = || TpmError::malformed(QUOTE, "shorter than it says");
    let (length, rest) =
        command::parameters(&answer).and_then(|bytes| bytes.split_first_chunk::<2>()).ok_or_else(short)?;
    let (quote, signature) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(short)?;
    let (attest, rest) = TpmsAttest::unmarshal(quote).map_err(malformed)?;
    let (_, behind) = TpmtSignature::unmarshal(signature).map_err(malformed)?;
    let TpmuAttest::Quote(quoted) = attest.attested else {
        return Err(TpmError::malformed(QUOTE, "another structure than a quote"));
    };
    if !rest.is_empty() || !behind.is_empty() {
        return Err(TpmError::malformed(QUOTE, "something follows it"));
    }
    if attest.extra_data.as_ref() != qualifying_data {
        return Err(TpmError::OtherRequest);
    }
    Ok(Signed { quote: quote.to_vec(), signature: signature.to_vec(), pcr_digest: quoted.pcr_digest.to_vec() })
}

impl Tee for Tpm2 {
    fn platform(&self) -> Platform {
        Platform::Tpm2
    }

    fn bind(&self, document: &[u8], _: Origin) -> Result<Binding, TeeError> {
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        registers::measure(&mut **transport, &self.banks, document)?;
        // Only now, because the secret is the document's too. A TPM that gives none serves all the same.
        let secret = secret::take(&mut **transport, &self.banks);
        let _ = self.secret.set(secret.map_err(TeeError::from));
        Ok(Binding::Pcr12)
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, TeeError> {
        Ok(Evidence::Tpm2(self.quote(report_data)?))
    }

    fn derived_secret(&self) -> Option<&Secret> {
        self.secret.get()?.as_ref().ok()
    }

    fn withheld_secret(&self) -> Option<&TeeError> {
        self.secret.get()?.as_ref().err()
    }
}
