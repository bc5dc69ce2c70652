//! Platform configuration registers: which banks there are, what is in them, and the document's measurement.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tpm2_protocol::basic::TpmHandle;
use tpm2_protocol::data::{
    TpmAlgId, TpmCap, TpmlDigestValues, TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection, TpmtHa, TpmuCapabilities,
    TpmuHa,
};
use tpm2_protocol::frame::{
    TpmGetCapabilityCommand, TpmGetCapabilityResponse, TpmPcrExtendCommand, TpmPcrExtendResponse, TpmPcrReadCommand,
    TpmPcrReadResponse,
};

use super::command::{Authorization, run};
use super::device::Transport;
use super::error::TpmError;
use crate::Bank;

/// The register of the deployment document.
pub const DOCUMENT_REGISTER: u8 = 12;
/// What is quoted: firmware and boot (0-9), the register of systemd's stub (11, zero here), and the document (12).
pub const QUOTED: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, DOCUMENT_REGISTER];

/// Values by bank and register.
pub type Values = BTreeMap<Bank, BTreeMap<u8, Vec<u8>>>;

/// All banks with SHA-2, in the order in which they are quoted.
const BANKS: [Bank; 3] = [Bank::Sha256, Bank::Sha384, Bank::Sha512];
/// Most answers that one reading may take: a TPM gives eight values at a time, and may give fewer.
const READS: usize = 64;

const fn algorithm(bank: Bank) -> TpmAlgId {
    match bank {
        Bank::Sha256 => TpmAlgId::Sha256,
        Bank::Sha384 => TpmAlgId::Sha384,
        Bank::Sha512 => TpmAlgId::Sha512,
    }
}

/// The bank's digest of these bytes.
#[must_use]
pub fn digest(bank: Bank, bytes: &[u8]) -> Vec<u8> {
    match bank {
        Bank::Sha256 => Sha256::digest(bytes).to_vec(),
        Bank::Sha384 => Sha384::digest(bytes).to_vec(),
        Bank::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

/// What a register that was zero holds after one extension with `bytes`' digest.
#[must_use]
pub fn extended_once(bank: Bank, bytes: &[u8]) -> Vec<u8> {
    let measured = digest(bank, bytes);
    digest(bank, &[vec![0; measured.len()], measured].concat())
}

/// Whether a bank is quoted. SHA-512 is not: it says nothing that the other two do not.
#[must_use]
pub fn is_quoted(bank: Bank) -> bool {
    matches!(bank, Bank::Sha256 | Bank::Sha384)
}

/// The banks with SHA-2 that are switched on. SHA-1 is left alone: its registers prove nothing, and PCR 12 stays zero in
/// it, which no verifier takes for a measurement.
pub(super) fn banks(transport: &mut dyn Transport) -> Result<Vec<Bank>, TpmError> {
    const NAME: &str = "GetCapability";
    let command =
        TpmGetCapabilityCommand { handles: [], cap: TpmCap::Pcrs, property: 0.into(), property_count: 1.into() };
    let response: TpmGetCapabilityResponse = run(transport, NAME, &command, Authorization::None)?;
    let TpmuCapabilities::Pcrs(selections) = response.capability_data.data else {
        return Err(TpmError::malformed(NAME, "another capability"));
    };
    let active = |bank: &Bank| {
        selections
            .iter()
            .any(|selection| selection.hash == algorithm(*bank) && has(&selection.pcr_select, DOCUMENT_REGISTER))
    };
    let banks: Vec<Bank> = BANKS.into_iter().filter(active).collect();
    if banks.first() == Some(&Bank::Sha256) { Ok(banks) } else { Err(TpmError::NoBank) }
}

fn has(mask: &[u8], register: u8) -> bool {
    mask.get(usize::from(register / 8)).is_some_and(|octet| octet >> (register % 8) & 1 == 1)
}

/// A selection in the form of commands.
pub(super) fn selection(wanted: &[(Bank, Vec<u8>)], command: &'static str) -> Result<TpmlPcrSelection, TpmError> {
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(command, format_args!("{error:?}"));
    let mut list = TpmlPcrSelection::new();
    for (bank, registers) in wanted.iter().filter(|(_, registers)| !registers.is_empty()) {
        let mut mask = 0_u32;
        for register in registers {
            mask |= 1_u32.checked_shl(u32::from(*register)).unwrap_or(0);
        }
        let [low, middle, high, _] = mask.to_le_bytes();
        let pcr_select = TpmsPcrSelect::try_from([low, middle, high].as_slice()).map_err(malformed)?;
        list.try_push(TpmsPcrSelection { hash: algorithm(*bank), pcr_select }).map_err(malformed)?;
    }
    Ok(list)
}

/// Reads registers of several banks.
pub(super) fn read(transport: &mut dyn Transport, banks: &[Bank], registers: &[u8]) -> Result<Values, TpmError> {
    const NAME: &str = "PCR_Read";
    let mut values = Values::new();
    let mut missing: Vec<(Bank, Vec<u8>)> = banks.iter().map(|bank| (*bank, registers.to_vec())).collect();
    for _ in 0..READS {
        let pcr_selection_in = selection(&missing, NAME)?;
        if pcr_selection_in.is_empty() {
            return Ok(values);
        }
        let command = TpmPcrReadCommand { handles: [], pcr_selection_in };
        let response: TpmPcrReadResponse = run(transport, NAME, &command, Authorization::None)?;
        let mut digests = response.pcr_values.iter();
        for (bank, wanted) in &mut missing {
            let chosen = response.pcr_selection_out.iter().find(|chosen| chosen.hash == algorithm(*bank));
            let Some(chosen) = chosen else { continue };
            for register in wanted.iter().copied().filter(|register| has(&chosen.pcr_select, *register)) {
                let value = digests.next().ok_or_else(|| TpmError::malformed(NAME, "fewer values than registers"))?;
                if value.len() != digest(*bank, &[]).len() {
                    return Err(TpmError::malformed(NAME, "a value of another length than its bank's"));
                }
                values.entry(*bank).or_default().insert(register, value.to_vec());
            }
            wanted.retain(|register| !has(&chosen.pcr_select, *register));
        }
    }
    Err(TpmError::malformed(NAME, "registers that never come"))
}

/// Extends a register with these bytes' digests, in all these banks at once.
pub(super) fn extend(
    transport: &mut dyn Transport,
    banks: &[Bank],
    register: u8,
    bytes: &[u8],
) -> Result<(), TpmError> {
    const NAME: &str = "PCR_Extend";
    let malformed = |error: tpm2_protocol::TpmError| TpmError::malformed(NAME, format_args!("{error:?}"));
    let mut digests = TpmlDigestValues::new();
    for bank in banks {
        let value = digest(*bank, bytes).as_slice().try_into().map_err(malformed)?;
        digests.try_push(TpmtHa { hash_alg: algorithm(*bank), digest: TpmuHa::Digest(value) }).map_err(malformed)?;
    }
    let command = TpmPcrExtendCommand { handles: [TpmHandle::new(u32::from(register))], digests };
    run::<TpmPcrExtendResponse>(transport, NAME, &command, Authorization::Empty).map(drop)
}

/// Measures the document: its register was zero in every bank, and is the measurement afterwards.
pub(super) fn measure(transport: &mut dyn Transport, banks: &[Bank], document: &[u8]) -> Result<(), TpmError> {
    let zero = |value: &Vec<u8>| value.iter().all(|byte| *byte == 0);
    for (bank, values) in read(transport, banks, &[DOCUMENT_REGISTER])? {
        if !values.values().all(zero) {
            return Err(TpmError::Measured { bank: bank.name() });
        }
    }
    extend(transport, banks, DOCUMENT_REGISTER, document)?;
    for (bank, values) in read(transport, banks, &[DOCUMENT_REGISTER])? {
        if values.get(&DOCUMENT_REGISTER) != Some(&extended_once(bank, document)) {
            return Err(TpmError::NotMeasured { bank: bank.name() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_a_bit_for_each_register_and_no_empty_bank() {
        let list = selection(&[(Bank::Sha256, QUOTED.to_vec()), (Bank::Sha384, Vec::new())], "test").unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(&*list[0].pcr_select, [0xFF, 0x1B, 0x00]);
        assert!(has(&list[0].pcr_select, 12) && !has(&list[0].pcr_select, 10) && !has(&list[0].pcr_select, 200));
    }

    #[test]
    fn one_extension_of_zero_is_the_digest_of_zeros_and_digest() {
        let expected = Sha256::new().chain_update([0; 32]).chain_update(Sha256::digest(b"x")).finalize();
        assert_eq!(extended_once(Bank::Sha256, b"x"), expected.to_vec());
        assert_eq!(extended_once(Bank::Sha384, b"x").len(), 48);
        assert_ne!(extended_once(Bank::Sha256, b"x"), extended_once(Bank::Sha256, b"y"));
    }
}
