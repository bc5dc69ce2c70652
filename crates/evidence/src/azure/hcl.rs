//! The report of the host compatibility layer: a header, a hardware report, and the runtime data that it binds.

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    Refusal, Rule,
    cursor::{Cursor, all_zero},
    x509::PublicKey,
};

/// Largest report read, padding included, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// Length of the header in bytes.
const HEADER_BYTES: usize = 32;
/// Length of the place for the hardware report in bytes.
const HARDWARE_BYTES: usize = 1184;
/// Length of the fields before the runtime claims in bytes.
const CLAIMS_HEADER_BYTES: u32 = 20;
/// Name of the attestation key.
const AK: &str = "HCLAkPub";

/// The hardware report, by the type that the layer announces. Rule A4 compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HardwareReport<'a> {
    /// A whole SEV-SNP report.
    Snp(&'a [u8]),
    /// A TDREPORT, whose quote comes beside it.
    Tdx(TdReport<'a>),
}

/// The parts of a TDREPORT that its quote repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TdReport<'a> {
    pub(crate) report_data: &'a [u8],
    pub(crate) mrtd: &'a [u8],
}

/// A well-formed report. Not verified.
#[derive(Debug, Clone)]
pub(crate) struct HclReport<'a> {
    pub(crate) version: u32,
    pub(crate) hardware: HardwareReport<'a>,
    /// The runtime claims, byte for byte.
    pub(crate) runtime: &'a [u8],
}

impl<'a> HclReport<'a> {
    /// Reads a report: rules A1, A4.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Rule::A1.require(bytes.len() <= MAX_BYTES, "the report is too large")?;
        let malformed = || Rule::A1.refuse("the report is malformed");
        let mut at = Cursor::new(bytes);
        let (version, report_bytes) = header(&mut at).ok_or_else(malformed)?;
        Rule::A1.require(matches!(version, 1 | 2), "the report's version is neither 1 nor 2")?;
        let place = at.take(HARDWARE_BYTES).ok_or_else(malformed)?;
        let (kind, runtime) = claims(&mut at).ok_or_else(malformed)?;
        let used = bytes.len() - at.rest().len();
        Rule::A1.require(used == report_bytes as usize, "the report's length is not what its header says")?;
        Rule::A1.require(all_zero(at.rest()), "bytes other than zero follow the report")?;
        let hardware = hardware(kind, place)?;
        Ok(Self { version, hardware, runtime })
    }

    /// Whether a hardware report's data bind the runtime data: rule A2.
    pub(crate) fn is_bound_by(&self, report_data: &[u8; 64]) -> bool {
        let (digest, rest) = report_data.split_at(32);
        digest == Sha256::digest(self.runtime).as_slice() && all_zero(rest)
    }

    /// The runtime claims, and the attestation key among them: rule A3. To be called after [`Self::is_bound_by`].
    pub(crate) fn runtime_claims(&self) -> Result<(Value, PublicKey), Refusal> {
        let claims: Value =
            serde_json::from_slice(self.runtime).map_err(|_| Rule::A3.refuse("the runtime data are not JSON"))?;
        let keys = claims.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut named = keys.iter().filter(|key| key.get("kid").and_then(Value::as_str) == Some(AK));
        let key = named.next().ok_or_else(|| Rule::A3.refuse("the runtime data name no attestation key"))?;
        Rule::A3.require(named.next().is_none(), "the runtime data name two attestation keys")?;
        let key =
            public_key(key).ok_or_else(|| Rule::A3.refuse("the attestation key in the runtime data is malformed"))?;
        Ok((claims, key))
    }
}

/// Version and length from the header.
fn header(at: &mut Cursor<'_>) -> Option<(u32, u32)> {
    let mut fields = Cursor::new(at.take(HEADER_BYTES)?);
    (fields.array() == Some(*b"HCLA")).then_some(())?;
    let (version, report_bytes) = (fields.u32_le()?, fields.u32_le()?);
    let (request, status) = (fields.u32_le()?, fields.u32_le()?);
    (request == 2 && status == 0 && all_zero(fields.rest())).then_some((version, report_bytes))
}

/// Report type and runtime claims.
fn claims<'a>(at: &mut Cursor<'a>) -> Option<(u32, &'a [u8])> {
    let (size, version, kind) = (at.u32_le()?, at.u32_le()?, at.u32_le()?);
    let (hash, length) = (at.u32_le()?, at.u32_le()?);
    // Hash type 1 is SHA-256, the one that the hardware report's data have.
    (version == 1 && hash == 1 && size == length.checked_add(CLAIMS_HEADER_BYTES)?).then_some(())?;
    Some((kind, at.take(usize::try_from(length).ok()?)?))
}

/// Rule A4: what the layer announces is what is there.
fn hardware(kind: u32, place: &[u8]) -> Result<HardwareReport<'_>, Refusal> {
    let disagree = || Rule::A4.refuse("the hardware report is not of the announced type");
    match kind {
        // A version number of SEV-SNP's, little-endian.
        2 => matches!(place, [2..=5, 0, 0, 0, ..]).then_some(HardwareReport::Snp(place)).ok_or_else(disagree),
        4 => td_report(place).map(HardwareReport::Tdx).ok_or_else(disagree),
        _ => Err(Rule::A4.refuse("the hardware report is of an unknown type")),
    }
}

/// A TDREPORT (Intel "TDX Module ABI", `TDREPORT_STRUCT`): type 0x81, report data at 128, measurements at 512.
fn td_report(place: &[u8]) -> Option<TdReport<'_>> {
    let (report, padding) = place.split_at_checked(1024)?;
    (report.first() == Some(&0x81) && all_zero(padding)).then_some(())?;
    Some(TdReport { report_data: report.get(128..192)?, mrtd: report.get(528..576)? })
}

/// An RSA key in JWK form (RFC 7518 section 6.3).
fn public_key(key: &Value) -> Option<PublicKey> {
    (key.get("kty").and_then(Value::as_str) == Some("RSA")).then_some(())?;
    let number = |name: &str| {
        let text = key.get(name)?.as_str()?;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
    };
    PublicKey::from_rsa(&number("n")?, &number("e")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule that runtime claims break.
    fn broken(runtime: &str) -> Option<Rule> {
        let report = HclReport { version: 2, hardware: HardwareReport::Snp(&[]), runtime: runtime.as_bytes() };
        report.runtime_claims().err().map(|refusal| refusal.rule())
    }

    #[test]
    fn a3_the_attestation_key_is_the_one_that_the_runtime_data_name() {
        let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xff; 256]);
        let key = format!(r#"{{"kid":"HCLAkPub","kty":"RSA","n":"{modulus}","e":"AQAB"}}"#);
        let with = |keys: &str| broken(&format!(r#"{{"keys":[{keys}],"user-data":""}}"#));
        let changed = |from: &str, to: &str| {
            assert_ne!(key.replace(from, to), key);
            with(&key.replace(from, to))
        };
        assert_eq!(with(&key), None);
        assert_eq!(with(&format!(r#"{{"kid":"HCLEkPub","kty":"RSA"}},{key}"#)), None, "beside another key");
        assert_eq!(with(""), Some(Rule::A3), "no key");
        assert_eq!(with(&format!("{key},{key}")), Some(Rule::A3), "two keys");
        for (from, to, what) in [
            ("HCLAkPub", "HCLEkPub", "another name"),
            ("RSA", "EC", "another kind"),
            ("\"AQAB\"", "\"\"", "no exponent"),
            ("AQAB", "AAAA", "exponent zero"),
            (&modulus, "_w", "a short modulus"),
            (&modulus, &format!("{modulus}="), "padding"),
            (&modulus, "not base64!", "not base64"),
            ("\"n\"", "\"m\"", "no modulus"),
        ] {
            assert_eq!(changed(from, to), Some(Rule::A3), "{what}");
        }
        for runtime in ["", "[]", "{}", r#"{"keys":{}}"#, "\u{0}", &format!(r#"{{"keys":[{key}]"#)] {
            assert_eq!(broken(runtime), Some(Rule::A3), "{runtime:?}");
        }
    }
}
