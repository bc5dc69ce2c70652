//! `attestation.evidence` of a report: everything a verifier needs, in one JSON object.
//!
//! Bytes are lower-case hexadecimal. What a platform does not have is left out, never filled in. docs/decisions/0007 lists
//! the members.

use serde_json::{Map, Value, json};
use tee::{Evidence, SevSnpEvidence, TdxEvidence, Tpm2Evidence};

use super::Identity;

/// The object: what the machine signed, and what it says about itself beside that.
pub(super) fn json(identity: &Identity, evidence: &Evidence) -> Value {
    let origin = &identity.origin;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    // Statements of the machine about itself. The first two can be recomputed from the document, which hardware binds.
    put("document_sha256", hex::encode(origin.document_sha256).into());
    put("model_sha256", hex::encode(identity.model_sha256).into());
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
    Value::Object(members)
}

fn tpm2(evidence: &Tpm2Evidence) -> Value {
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
