//! Intel's provisioning certification service: four answers that make one collateral.
//!
//! Source: Intel "Provisioning Certification Service API", version 4.

use evidence::tdx::Wanted;
use http::HeaderMap;
use serde_json::json;

use super::{CollateralError, Library, Service};

/// Largest of the answers, in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// The collateral for a kind of platform, in the form that `lethe check tdx --collateral` reads.
pub(super) async fn fetched(library: &Library, wanted: &Wanted) -> Result<Vec<u8>, CollateralError> {
    let fmspc = hex::encode_upper(wanted.fmspc);
    let intel = &library.intel;
    let tcb_info =
        signed(intel, &format!("/tdx/certification/v4/tcb?fmspc={fmspc}"), "tcbInfo", "TCB-Info-Issuer-Chain").await?;
    let qe_identity =
        signed(intel, "/tdx/certification/v4/qe/identity", "enclaveIdentity", "SGX-Enclave-Identity-Issuer-Chain")
            .await?;
    let place = format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", wanted.authority);
    let pck_crl = intel.get(&place, MAX_BYTES).await?;
    let root_crl = library.intel_certificates.get("/IntelSGXRootCA.der", MAX_BYTES).await?;
    let collateral = json!({
        "pck_crl_issuer_chain": chain(intel, &pck_crl.headers, "SGX-PCK-CRL-Issuer-Chain")?,
        "root_ca_crl": hex::encode(root_crl.body),
        "pck_crl": hex::encode(pck_crl.body),
        "tcb_info_issuer_chain": tcb_info.chain,
        "tcb_info": tcb_info.text,
        "tcb_info_signature": tcb_info.signature,
        "qe_identity_issuer_chain": qe_identity.chain,
        "qe_identity": qe_identity.text,
        "qe_identity_signature": qe_identity.signature,
    });
    Ok(format!("{collateral:#}\n").into_bytes())
}

/// A signed text and its signers.
struct Signed {
    text: String,
    signature: String,
    chain: String,
}

async fn signed(service: &Service, place: &str, member: &str, header: &str) -> Result<Signed, CollateralError> {
    let answer = service.get(place, MAX_BYTES).await?;
    let text = String::from_utf8(answer.body).ok();
    let parts = text.as_deref().and_then(|text| split(text, member));
    let (text, signature) = parts.ok_or(service.other_form("not a signed text"))?;
    Ok(Signed {
        text: text.to_owned(),
        signature: signature.to_owned(),
        chain: chain(service, &answer.headers, header)?,
    })
}

/// Text and signature of `{"MEMBER":TEXT,"signature":"HEX"}`. The signature is over the text's own bytes, so that the answer is
/// cut and not parsed.
fn split<'a>(answer: &'a str, member: &str) -> Option<(&'a str, &'a str)> {
    let rest = answer.trim().strip_prefix('{')?.strip_prefix(&format!("\"{member}\":"))?;
    let (text, rest) = rest.rsplit_once(",\"signature\":\"")?;
    let signature = rest.strip_suffix("\"}")?;
    signature.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((text, signature))
}

/// The PEM chain that a header carries with percent signs.
fn chain(service: &Service, headers: &HeaderMap, name: &str) -> Result<String, CollateralError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.and_then(unescaped).ok_or(service.other_form("an issuer chain is missing"))
}

/// Text without its percent-encoding (RFC 3986, section 2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_text_is_cut_out_byte_for_byte() {
        let answer = "{\"tcbInfo\":{\"a\": [1,\"signature\"]},\"signature\":\"0aff\"}";
        assert_eq!(split(answer, "tcbInfo"), Some(("{\"a\": [1,\"signature\"]}", "0aff")));
        for other in ["", "{}", &answer.replace("tcbInfo", "tcb"), &answer.replace("0aff", "0x"), &answer[..20]] {
            assert_eq!(split(other, "tcbInfo"), None, "{other}");
        }
    }

    #[test]
    fn percent_signs_are_taken_out_or_the_text_is_refused() {
        assert_eq!(unescaped("-----BEGIN%20A-----%0A+").as_deref(), Some("-----BEGIN A-----\n+"));
        for other in ["%", "%0", "%zz", "%ff"] {
            assert_eq!(unescaped(other), None, "{other}");
        }
    }
}
