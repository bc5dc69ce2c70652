//! Verification of one quote.

use super::{
    attest::Attest,
    boot::{self, Boot, Image},
    claims,
    key::TrustedKey,
    registers::{Bank, Registers},
    signature::{Scheme, Signature},
};
use crate::{
    Demand, Expected, Policy, Refusal, Rule,
    expected::Fact,
    policy::{Line, Tpm2Policy},
};
use measurements::event_log::Log;
use subtle::ConstantTimeEq as _;

/// What is verified: bytes from whoever.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The quote, a `TPMS_ATTEST`.
    pub quote: &'a [u8],
    /// A `TPMT_SIGNATURE`, or a bare RSASSA signature with SHA-256.
    pub signature: &'a [u8],
    /// Values of the quoted registers.
    pub registers: Option<&'a Registers>,
    /// The firmware's event log.
    pub event_log: Option<&'a [u8]>,
}

/// A verified quote. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub(super) attest: Attest,
    pub(super) key: TrustedKey,
    /// Values that hash to the quote's digest; none where only the digest is known.
    pub(super) registers: Option<Registers>,
    /// Digests of the drivers that the log names, in the first quoted bank; none where there was no log to replay.
    pub(super) drivers: Option<Vec<Vec<u8>>>,
    pub(super) boot_judged: bool,
    /// The policy's line, for what is judged later.
    drivers_allowed: Line<bool>,
}

impl Verified {
    /// What the relying party sent, or what the TPM was made to sign instead.
    #[must_use]
    pub fn nonce(&self) -> &[u8] {
        &self.attest.nonce
    }

    /// The value of a quoted register, where the values were given.
    #[must_use]
    pub fn register(&self, bank: Bank, index: u8) -> Option<&[u8]> {
        self.registers.as_ref()?.get(bank, index)
    }

    /// Counts resets of the TPM: another number is another boot.
    #[must_use]
    pub fn reset_count(&self) -> u32 {
        self.attest.reset_count
    }

    /// Why the attestation key is trusted.
    #[must_use]
    pub fn key(&self) -> &TrustedKey {
        &self.key
    }

    /// Whether image and document were judged (rules P7 to P10).
    #[must_use]
    pub fn boot_judged(&self) -> bool {
        self.boot_judged
    }

    /// How many drivers the log says were started, which the policy then allowed; none where there was no log to replay.
    #[must_use]
    pub fn drivers(&self) -> usize {
        self.drivers.as_ref().map_or(0, Vec::len)
    }

    /// Judges what was booted, whatever its document: rules P6 to P9, in every quoted bank.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the first rule broken.
    pub fn judge_image(&self, event_log: &[u8], image: &Image<'_>) -> Result<(), Refusal> {
        self.replayed(event_log, |log, bank, registers| {
            boot::judge_image(log, bank, registers, image, &self.drivers_allowed)
        })
    }

    /// Judges which document the booted image was given: rules P6 and P10, in every quoted bank. It means something where
    /// the image is known to measure its document before anything else.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the first rule broken.
    pub fn judge_document(&self, event_log: &[u8], document: &[u8]) -> Result<(), Refusal> {
        self.replayed(event_log, |log, bank, registers| boot::judge_document(log, bank, registers, document))
    }

    fn replayed(
        &self,
        event_log: &[u8],
        judge: impl Fn(&Log<'_>, Bank, &Registers) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let registers = self
            .registers
            .as_ref()
            .ok_or_else(|| Rule::P6.refuse("an event log means nothing without the register values"))?;
        let banks: Vec<Bank> = self.attest.selections.iter().map(|(bank, _)| *bank).collect();
        let log = boot::replay(event_log, &banks, registers)?;
        banks.into_iter().try_for_each(|bank| judge(&log, bank, registers))
    }

    /// Every claim, by the names that `lethe check` prints.
    #[must_use]
    pub fn claims(&self) -> serde_json::Map<String, serde_json::Value> {
        claims::of(self)
    }
}

/// Verifies a quote: rules P1 and P3 to P10. The key, rule P2, was established before.
///
/// Expectations may name `pcr0` to `pcr23`, in the first quoted bank. With `boot`, an event log and the register values are
/// needed whatever the policy says: what was booted cannot be judged without.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken.
pub fn verify(
    evidence: Evidence<'_>,
    key: TrustedKey,
    nonce: Option<&[u8]>,
    boot: Option<&Boot<'_>>,
    policy: &Policy,
    expected: &Expected,
) -> Result<Verified, Refusal> {
    let lines = &policy.tpm2;
    let attest = Attest::read(evidence.quote)?;
    let signature = Signature::read(evidence.signature, &key.key)
        .ok_or_else(|| Rule::P1.refuse("the signature is malformed, or not of the attestation key's kind"))?;
    Rule::P3.require(signature.verifies(&key.key, evidence.quote), "the attestation key did not sign this quote")?;
    check_nonce(&attest, nonce, lines)?;
    check_selection(&attest, lines)?;
    let registers = evidence.registers.map(|given| check_digest(&attest, signature.scheme, given)).transpose()?;
    check_expected(&attest, registers.as_ref(), expected)?;

    let drivers = check_log(&attest, evidence.event_log, registers.as_ref(), boot, lines)?;
    let drivers_allowed = lines.drivers_allowed.clone();
    Ok(Verified { attest, key, registers, drivers, boot_judged: boot.is_some(), drivers_allowed })
}

/// Rule P4.
fn check_nonce(attest: &Attest, nonce: Option<&[u8]>, lines: &Tpm2Policy) -> Result<(), Refusal> {
    Rule::P4.require(!attest.nonce.is_empty(), "the quote has no nonce")?;
    match nonce {
        Some(nonce) => {
            Rule::P4.require(!nonce.is_empty() && bool::from(attest.nonce.ct_eq(nonce)), "the quote has another nonce")
        }
        None if lines.nonce_required.is => Err(lines.nonce_required.refuse(Rule::P4, "no nonce was expected")),
        None => Ok(()),
    }
}

/// Rule P5: allowed banks, and every demanded register in each of them.
fn check_selection(attest: &Attest, lines: &Tpm2Policy) -> Result<(), Refusal> {
    for (bank, selected) in &attest.selections {
        if !lines.banks.is.iter().any(|name| name == bank.name()) {
            return Err(lines.banks.refuse(Rule::P5, format!("the quote is over {}", bank.name())));
        }
        if let Some(missing) = lines.registers.is.iter().find(|index| !selected.contains(index)) {
            return Err(lines.registers.refuse(Rule::P5, format!("PCR {missing} is not quoted")));
        }
    }
    Ok(())
}

/// Rule P5: the values hash to the quote's digest. Returns the quoted ones alone.
fn check_digest(attest: &Attest, scheme: Scheme, given: &Registers) -> Result<Registers, Refusal> {
    let mut quoted = Registers::new();
    let mut parts: Vec<&[u8]> = Vec::new();
    for (bank, selected) in &attest.selections {
        for index in selected {
            let value = given
                .get(*bank, *index)
                .ok_or_else(|| Rule::P5.refuse(format!("the value of PCR {index} was not given")))?;
            parts.push(value);
            quoted.set(*bank, *index, value);
        }
    }
    Rule::P5.require(scheme.digest(&parts) == attest.digest, "the register values do not hash to the quoted digest")?;
    Ok(quoted)
}

/// Expected register values, in the first quoted bank.
fn check_expected(attest: &Attest, registers: Option<&Registers>, expected: &Expected) -> Result<(), Refusal> {
    const NAMES: [&str; 24] = [
        "pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7", "pcr8", "pcr9", "pcr10", "pcr11", "pcr12",
        "pcr13", "pcr14", "pcr15", "pcr16", "pcr17", "pcr18", "pcr19", "pcr20", "pcr21", "pcr22", "pcr23",
    ];
    let bank = attest.selections.first().map(|(bank, _)| *bank);
    let facts: Vec<(&'static str, Rule, Fact<'_>)> = (0_u8..)
        .zip(NAMES)
        .filter_map(|(index, name)| Some((name, Rule::P5, Fact::Bytes(registers?.get(bank?, index)?))))
        .collect();
    expected.compare(&facts, Rule::P5)
}

/// Rules P6 to P10. Returns the drivers that a replayed log names; nothing without a log.
fn check_log(
    attest: &Attest,
    event_log: Option<&[u8]>,
    registers: Option<&Registers>,
    boot: Option<&Boot<'_>>,
    lines: &Tpm2Policy,
) -> Result<Option<Vec<Vec<u8>>>, Refusal> {
    let Some(bytes) = event_log else {
        if lines.event_log.is == Demand::Required {
            return Err(lines.event_log.refuse(Rule::P6, "no event log was given"));
        }
        Rule::P6.require(boot.is_none(), "what was booted cannot be judged without an event log")?;
        return Ok(None);
    };
    let registers =
        registers.ok_or_else(|| Rule::P6.refuse("an event log means nothing without the register values"))?;
    let banks: Vec<Bank> = attest.selections.iter().map(|(bank, _)| *bank).collect();
    let log = boot::replay(bytes, &banks, registers)?;
    if let Some(expectation) = boot {
        for bank in &banks {
            boot::judge(&log, *bank, registers, expectation, &lines.drivers_allowed)?;
        }
    }
    Ok(Some(banks.first().map(|bank| boot::drivers(&log, *bank)).unwrap_or_default()))
}
