//! Evidence of a TPM 2.0.

use evidence::{
    Expected, Rule,
    tpm::{self, AttestationKey, Image, Registers, TrustedKey, Verified},
};
use sha2::{Digest as _, Sha256};

use super::{Bound, Case, Judged, NO_REFERENCES, document};
use crate::{
    attestation::{evidence::Tpm2, findings::Findings, labels::Subject, references::Reference, trust::AttestationKeys},
    error::Refusal,
};

/// What a TPM is worth, said wherever one is accepted.
const WORTH: &str = "a TPM proves as much as its maker is worth, and an emulated one on your own machine proves the path, \
                     not the hardware";

/// Judges the quote, then what the event log behind it says.
pub(super) fn judge(evidence: &Tpm2, case: &Case<'_>, findings: &mut Findings) -> Judged {
    let Some(key) = trusted_key(evidence, case, findings) else { return Judged::nothing() };
    let (verified, bound) = match quote(evidence, key, case) {
        Ok(found) => found,
        Err(refusal) => {
            let subject = if refusal.rule() == Rule::P6 { Subject::Image } else { Subject::Hardware };
            findings.refuse(subject, refusal);
            return Judged::nothing();
        }
    };
    let key = verified.key();
    let fingerprint = key.fingerprint().map(hex::encode).unwrap_or_default();
    let origin = key.origin();
    findings.accept(
        Subject::Hardware,
        format!("a TPM 2.0 signed with the {origin} attestation key sha256:{fingerprint}; {WORTH}"),
    );
    let image = judge_image(&verified, &evidence.event_log.0, case, findings);
    let bind = |document: &[u8]| match verified.judge_document(&evidence.event_log.0, document) {
        Err(refusal) => document::Binding::No(Refusal::Evidence(refusal)),
        // Whatever was started can extend PCR 12; only the image is known to have done it with its own document.
        Ok(()) if image.is_none() => document::Binding::Unknown("PCR 12 proves the document only behind a known image"),
        Ok(()) => document::Binding::To("PCR 12"),
    };
    document::judge(case, image, bind, findings);
    Judged { bound, claims: verified.claims() }
}

/// The key that the user trusts. Evidence never vouches for its own.
fn trusted_key(evidence: &Tpm2, case: &Case<'_>, findings: &mut Findings) -> Option<TrustedKey> {
    let established = match &case.trust.attestation_key {
        AttestationKeys::Nobody => {
            let own = hex::encode(Sha256::digest(&evidence.ak.0));
            let reason = format!("nobody vouches for the TPM's attestation key sha256:{own}: name it with --ak");
            findings.leave(Subject::Hardware, reason);
            return None;
        }
        AttestationKeys::Pinned(key) => AttestationKey::Pinned(key).establish(case.at),
        AttestationKeys::Certified { roots, intermediates } => {
            let Some(certificate) = &evidence.ak_certificate else {
                findings
                    .leave(Subject::Hardware, "the TPM's attestation key has no certificate: name the key with --ak");
                return None;
            };
            let (roots, intermediates) = (slices(roots), slices(intermediates));
            let key =
                AttestationKey::Certified { certificate: &certificate.0, intermediates: &intermediates, roots: &roots };
            key.establish(case.at)
        }
    };
    match established {
        Ok(key) => Some(key),
        Err(refusal) => {
            findings.refuse(Subject::Hardware, refusal);
            None
        }
    }
}

fn slices(list: &[Vec<u8>]) -> Vec<&[u8]> {
    list.iter().map(Vec::as_slice).collect()
}

/// An authentic quote, and whether it is over what the report states. A TPM takes the SHA-256 of the 64 bytes.
fn quote(evidence: &Tpm2, key: TrustedKey, case: &Case<'_>) -> Result<(Verified, Bound), evidence::Refusal> {
    let registers = Registers::from_json(evidence.pcrs.to_string().as_bytes())?;
    let parts = tpm::Evidence {
        quote: &evidence.quote.0,
        signature: &evidence.signature.0,
        registers: Some(&registers),
        event_log: Some(&evidence.event_log.0),
    };
    let stated = Sha256::digest(case.stated);
    let (policy, nothing) = (&case.trust.policy, Expected::nothing());
    match tpm::verify(parts, key.clone(), Some(&stated), None, policy, &nothing) {
        Ok(verified) => Ok((verified, Bound::Holds)),
        // Of another nonce, but perhaps authentic: the other labels are judged all the same.
        Err(other) if other.rule() == Rule::P4 => {
            let mut lenient = policy.clone();
            lenient.tpm2.nonce_required.is = false;
            let verified = tpm::verify(parts, key, None, None, &lenient, &nothing)?;
            Ok((verified, Bound::Broken(other)))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What was started before the image. That no other application was, is what the image is judged by.
fn before(drivers: usize) -> String {
    match drivers {
        0 => "no other application was started before it".to_owned(),
        drivers => format!("no other application was started before it, but {drivers} drivers, as the policy allows"),
    }
}

fn judge_image<'a>(
    verified: &Verified,
    event_log: &[u8],
    case: &Case<'a>,
    findings: &mut Findings,
) -> Option<&'a Reference> {
    let firmware = case.trust.firmware;
    let mut refused = None;
    for reference in case.trust.references.iter() {
        let digests = reference.boot_digests(firmware);
        let digests: Vec<&[u8]> = digests.iter().map(Vec::as_slice).collect();
        match verified.judge_image(event_log, &Image { digests: &digests, firmware, load_options: &[] }) {
            Ok(()) => {
                findings.accept(Subject::Image, format!("{reference}; {}", before(verified.drivers())));
                return Some(reference);
            }
            Err(refusal) => drop(refused.get_or_insert(refusal)),
        }
    }
    match refused {
        Some(refusal) => findings.refuse(Subject::Image, refusal),
        None => findings.leave(Subject::Image, NO_REFERENCES),
    }
    None
}
