//! `TPMS_ATTEST` of a quote.

use super::registers::Bank;
use crate::{Refusal, Rule, cursor::Cursor};

/// Longest quote read, in bytes.
const MAX_BYTES: usize = 1024;
/// `TPM_GENERATED_VALUE`.
const MAGIC: [u8; 4] = [0xff, b'T', b'C', b'G'];
/// `TPM_ST_ATTEST_QUOTE`.
const QUOTE: u16 = 0x8018;
/// Most selections: one for each bank there is.
const MAX_SELECTIONS: u32 = 8;

/// A quote that is well formed. Not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attest {
    pub(crate) qualified_signer: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    pub(crate) clock: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) safe: bool,
    pub(crate) firmware_version: u64,
    /// Banks with the registers selected in each, ascending, in the quote's order.
    pub(crate) selections: Vec<(Bank, Vec<u8>)>,
    pub(crate) digest: Vec<u8>,
}

impl Attest {
    /// Reads a quote that fills the bytes: rule P1.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Rule::P1.require(bytes.len() <= MAX_BYTES, "the quote is too large")?;
        let mut at = Cursor::new(bytes);
        Rule::P1.require(at.array() == Some(MAGIC), "the structure was not made inside of a TPM")?;
        Rule::P1.require(at.u16_be() == Some(QUOTE), "the structure is not a quote")?;
        Self::fields(&mut at).ok_or_else(|| Rule::P1.refuse("the quote is malformed, or selects an unknown bank"))
    }

    fn fields(at: &mut Cursor<'_>) -> Option<Self> {
        let qualified_signer = sized(at)?.to_vec();
        let nonce = sized(at)?.to_vec();
        let (clock, reset_count, restart_count) = (at.u64_be()?, at.u32_be()?, at.u32_be()?);
        let safe = match at.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let firmware_version = at.u64_be()?;
        let count = at.u32_be().filter(|count| (1..=MAX_SELECTIONS).contains(count))?;
        let mut selections: Vec<(Bank, Vec<u8>)> = Vec::new();
        for _ in 0..count {
            let bank = Bank::from_algorithm(at.u16_be()?)?;
            let octets = at.u8().filter(|octets| *octets <= 4)?;
            let mask = at.take(octets.into())?;
            if selections.iter().any(|(known, _)| *known == bank) {
                return None;
            }
            let selected = (0..u32::from(octets) * 8).filter_map(|index| u8::try_from(index).ok());
            let selected = selected
                .filter(|index| mask.get(usize::from(index / 8)).is_some_and(|octet| octet >> (index % 8) & 1 == 1));
            selections.push((bank, selected.collect()));
        }
        let digest = sized(at)?.to_vec();
        at.is_empty().then_some(Self {
            qualified_signer,
            nonce,
            clock,
            reset_count,
            restart_count,
            safe,
            firmware_version,
            selections,
            digest,
        })
    }
}

/// A `TPM2B`: length and bytes.
pub(super) fn sized<'a>(at: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let length = at.u16_be()?;
    at.take(length.into())
}
