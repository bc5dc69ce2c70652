//! `attestation.evidence` of a report: everything a verifier needs, in one JSON object.
//!
//! Bytes are lower-case hexadecimal. What a platform does not have is left out, never filled in; what a verifier may need and does not
//! find here stands in `missing`. docs/decisions/0007 lists the members.

use serde_json::{Map, Value, json};
use tee::{Bank, Binding, Evidence, SevSnpEvidence, TdxEvidence, Tpm2Evidence};

use super::Identity;

/// What every report of a boot repeats, as it is written there.
pub(super) struct Shown {
    binding: Binding,
    document: String,
    endorsements: Option<String>,
}

impl Shown {
    pub(super) fn of(binding: Binding, document: &[u8], endorsements: Option<&[u8]>) -> Self {
        Self { binding, document: hex::encode(document), endorsements: endorsements.map(hex::encode) }
    }
}

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
        put("document", identity.shown.document.as_str().into());
        put("document_binding", identity.shown.binding.name().into());
        if let Some(digest) = identity.image_manifest {
            put("image_manifest_sha256", hex::encode(digest).into());
        }
    }
    match evidence {
        Evidence::None => {}
        Evidence::Tpm2(evidence) => put("tpm2", tpm2(evidence)),
        Evidence::SevSnp(evidence) => put("sev_snp", sev_snp(evidence)),
        Evidence::Tdx(evidence) => put("tdx", tdx(evidence)),
    }
    if let Some(endorsements) = &identity.shown.endorsements {
        put("endorsements", endorsements.as_str().into());
    }
    put("missing", missing(evidence, identity.shown.endorsements.is_some(), identity.image_manifest.is_some()).into());
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

/// What a verifier may need and has to find elsewhere. Endorsements of the operator's are taken for what they should be: only a verifier
/// reads them.
fn missing(evidence: &Evidence, endorsed: bool, names_manifest: bool) -> Vec<&'static str> {
    let mut missing = match evidence {
        Evidence::None => return vec!["hardware_evidence"],
        Evidence::Tpm2(evidence) => vec![
            ("tpm2.ak_certificate", evidence.ak_certificate.is_none()),
            ("tpm2.event_log", evidence.event_log.is_empty()),
        ],
        Evidence::SevSnp(evidence) => {
            vec![("sev_snp.certificates", evidence.certificates.is_none() && !endorsed), ("sev_snp.crl", !endorsed)]
        }
        Evidence::Tdx(evidence) => vec![("tdx.event_log", evidence.event_log.is_none()), ("tdx.collateral", !endorsed)],
    };
    // no image holds its own manifest: only a document beside it can name that
    missing.push(("image_manifest", !names_manifest));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A launch measurement that no other part of a buffer is like.
    fn launch() -> Vec<u8> {
        (100..148).collect()
    }

    /// Parts of a structure, each filled with its place in the list, around the measurement, which is where the length is 0.
    fn made(header: &[u8], lengths: &[usize]) -> Vec<u8> {
        let parts = lengths.iter().enumerate().map(|(index, length)| match length {
            0 => launch(),
            length => vec![u8::try_from(index).expect("few") + 1; *length],
        });
        [header.to_vec(), parts.collect::<Vec<_>>().concat()].concat()
    }

    fn snp(report: &[u8]) -> Option<String> {
        measurement(&Evidence::SevSnp(SevSnpEvidence { report: report.to_vec(), certificates: None }))
    }

    fn of_tdx(quote: &[u8]) -> Option<String> {
        measurement(&Evidence::Tdx(TdxEvidence { quote: quote.to_vec(), event_log: None }))
    }

    #[test]
    fn the_measurement_of_sev_snp_is_the_launch_digest() {
        // version, SVN, policy, family, image, VMPL, algorithm, TCB, platform, key information, reserved, report data; host data
        let report = made(&[], &[4, 4, 8, 16, 16, 4, 4, 8, 8, 4, 4, 64, 0, 32]);
        assert_eq!(snp(&report), Some(hex::encode(launch())));
        assert_eq!(snp(&report[..0x90 + 48]), Some(hex::encode(launch())));
        assert_eq!(snp(&report[..0x90 + 47]), None, "one byte short");
        assert_eq!(snp(&[]), None);
    }

    #[test]
    fn the_measurement_of_tdx_is_mrtd_in_both_versions_of_a_quote() {
        // TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, SEAMATTRIBUTES, TDATTRIBUTES, XFAM, MRTD, MRCONFIGID
        const BODY: [usize; 8] = [16, 48, 48, 8, 8, 8, 0, 48];
        let header = |version: u8| [&[version, 0, 2, 0, 0x81, 0, 0, 0][..], &[0xee; 40]].concat();
        let (four, five) = (header(4), [header(5), vec![2, 0, 0x48, 2, 0, 0]].concat());
        for header in [four, five] {
            let (quote, end) = (made(&header, &BODY), header.len() + 136 + 48);
            assert_eq!(of_tdx(&quote), Some(hex::encode(launch())), "version {}", header[0]);
            assert_eq!(of_tdx(&quote[..end]), Some(hex::encode(launch())));
            assert_eq!(of_tdx(&quote[..end - 1]), None, "one byte short");
        }
        assert_eq!((of_tdx(&[]), of_tdx(&[4, 0])), (None, None));
    }

    #[test]
    fn what_is_not_there_is_listed_and_nothing_else() {
        let tdx = |event_log| Evidence::Tdx(TdxEvidence { quote: Vec::new(), event_log });
        assert_eq!(missing(&tdx(None), false, false), ["tdx.event_log", "tdx.collateral", "image_manifest"]);
        assert_eq!(missing(&tdx(Some(Vec::new())), true, true), [""; 0]);
        assert_eq!(missing(&tdx(Some(Vec::new())), true, false), ["image_manifest"]);
        let snp = |certificates| Evidence::SevSnp(SevSnpEvidence { report: Vec::new(), certificates });
        assert_eq!(missing(&snp(None), false, true), ["sev_snp.certificates", "sev_snp.crl"]);
        assert_eq!(missing(&snp(Some(Vec::new())), false, true), ["sev_snp.crl"]);
        assert_eq!(missing(&snp(None), true, true), [""; 0]);
        assert_eq!(missing(&Evidence::None, true, true), ["hardware_evidence"]);
    }

    #[test]
    fn the_measurement_of_a_tpm_is_pcr_4_of_the_sha_256_bank() {
        let of = |pcrs: &[(Bank, u8)]| {
            let mut banks: BTreeMap<Bank, BTreeMap<u8, Vec<u8>>> = BTreeMap::new();
            for (bank, register) in pcrs {
                banks.entry(*bank).or_default().insert(*register, vec![*register; 32]);
            }
            measurement(&Evidence::Tpm2(Tpm2Evidence {
                quote: Vec::new(),
                signature: Vec::new(),
                ak: Vec::new(),
                ak_certificate: None,
                pcrs: banks,
                event_log: Vec::new(),
            }))
        };
        assert_eq!(of(&[(Bank::Sha256, 0), (Bank::Sha256, 4), (Bank::Sha384, 4)]), Some("04".repeat(32)));
        assert_eq!(of(&[(Bank::Sha256, 0), (Bank::Sha256, 12)]), None, "another register");
        assert_eq!(of(&[(Bank::Sha384, 4)]), None, "another bank");
        assert_eq!(measurement(&Evidence::None), None);
    }
}
