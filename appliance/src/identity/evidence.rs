//! `attestation.evidence` of a report: everything a verifier needs, in one JSON object.
//!
//! Bytes are lower-case hexadecimal. What a platform does not have is left out, never filled in; what a verifier may need and does not
//! find here stands in `missing`. docs/decisions/0007 lists the members.

use serde_json::{Map, Value, json};
use tee::{Bank, Evidence, SevSnpEvidence, TdxEvidence, Tpm2Evidence};

use super::Identity;

/// The object: what the machine signed, and what it says about itself beside that.
pub(super) fn json(identity: &Identity, evidence: &Evidence) -> Value {
    let origin = &identity.origin;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    // Statements of the machine about itself. The first two can be recomputed from the document, which hardware binds.
    put("document_sha256", hex::encode(origin.document_sha256).into());
    put("model_sha256", hex::encode(identity.model.1).into());
    put("host_mode", origin.host_mode.into());
    put("insecure_host", origin.insecure_host.into());
    if *evidence != Evidence::None {
        put("document", hex::encode(&identity.document).into());
        put("document_binding", identity.binding.name().into());
    }
    match evidence {
        Evidence::None => {}
        Evidence::Tpm2(evidence) => put("tpm2", tpm2(evidence)),
        Evidence::SevSnp(evidence) => put("sev_snp", sev_snp(evidence)),
        Evidence::Tdx(evidence) => put("tdx", tdx(evidence)),
    }
    put("missing", missing(evidence).into());
    Value::Object(members)
}

/// What the hardware says it launched: the launch digest of SEV-SNP, MRTD of TDX, PCR 4 of a TPM's SHA-256 bank.
pub(super) fn measurement(evidence: &Evidence) -> Option<String> {
    /// Offset of MRTD in a quote of version 4; a later version has six bytes more before the body.
    const MRTD: usize = 184;
    let bytes = match evidence {
        Evidence::None => None,
        Evidence::SevSnp(evidence) => evidence.report.get(0x90..0xc0),
        Evidence::Tdx(evidence) => {
            let start = if evidence.quote.starts_with(&[4, 0]) { MRTD } else { MRTD + 6 };
            evidence.quote.get(start..start + 48)
        }
        Evidence::Tpm2(evidence) => evidence.pcrs.get(&Bank::Sha256).and_then(|bank| bank.get(&4)).map(Vec::as_slice),
    };
    bytes.map(hex::encode)
}

/// What a verifier may need and has to find elsewhere.
fn missing(evidence: &Evidence) -> Vec<&'static str> {
    let mut missing = match evidence {
        Evidence::None => return vec!["hardware_evidence"],
        Evidence::Tpm2(evidence) => vec![
            ("tpm2.ak_certificate", evidence.ak_certificate.is_none()),
            ("tpm2.event_log", evidence.event_log.is_empty()),
        ],
        Evidence::SevSnp(evidence) => {
            vec![("sev_snp.certificates", evidence.certificates.is_none()), ("sev_snp.crl", true)]
        }
        Evidence::Tdx(evidence) => vec![("tdx.event_log", evidence.event_log.is_none()), ("tdx.collateral", true)],
    };
    // an image cannot hold its own digest; its manifest is published beside it
    missing.push(("image_manifest", true));
    missing.into_iter().filter_map(|(name, absent)| absent.then_some(name)).collect()
}

pub(super) fn tpm2(evidence: &Tpm2Evidence) -> Value {
    let pcrs: Map<String, Value> = evidence
        .pcrs
        .iter()
        .map(|(bank, values)| {
            let values: Map<String, Value> =
                values.iter().map(|(register, value)| (register.to_string(), hex::encode(value).into())).collect();
            (bank.name().to_owned(), Value::Object(values))
        })
        .collect();
    let mut object = json!({
        "quote": hex::encode(&evidence.quote),
        "signature": hex::encode(&evidence.signature),
        "ak": hex::encode(&evidence.ak),
        "pcrs": pcrs,
        "event_log": hex::encode(&evidence.event_log),
    });
    add(&mut object, "ak_certificate", evidence.ak_certificate.as_deref());
    object
}

fn sev_snp(evidence: &SevSnpEvidence) -> Value {
    let mut object = json!({ "report": hex::encode(&evidence.report) });
    add(&mut object, "certificates", evidence.certificates.as_deref());
    object
}

fn tdx(evidence: &TdxEvidence) -> Value {
    let mut object = json!({ "quote": hex::encode(&evidence.quote) });
    add(&mut object, "event_log", evidence.event_log.as_deref());
    object
}

fn add(object: &mut Value, name: &str, bytes: Option<&[u8]>) {
    if let (Value::Object(members), Some(bytes)) = (object, bytes) {
        members.insert(name.to_owned(), hex::encode(bytes).into());
    }
}
