//! Verification of one device, and of a set that answered together.

use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;

use super::{
    report::{DRIVER_VERSION, Fields, Report, VBIOS_VERSION, text},
    rim::{Compared, Rim},
};
use crate::{
    Expected, Refusal, Rule, Time,
    expected::Fact,
    roots,
    x509::{Certificate, DIGITAL_SIGNATURE, Der, certificates_from, tag, verify_chain},
};

/// Certificates of a device's chain: leaf, boot ROM, provisioner, identity, root.
const CHAIN_LENGTH: std::ops::RangeInclusive<usize> = 3..=8;
/// Certificates of a chain that has all of these, and how many of them provision devices and are the same for many.
const WHOLE_CHAIN: usize = 5;
const PROVISIONING: usize = 3;
/// TCG DICE composite device id, 2.23.133.5.4.1: holds the digest of the measured firmware.
const COMPOSITE_DEVICE_ID: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01];
/// Opaque field with the digest of the firmware that made the report.
const FIRMWARE_ID: u16 = 20;
/// Longest opaque field that is a value, in bytes; longer ones are tables (counters, the topology of switches) and have a
/// claim of their own.
const LONGEST_VALUE: usize = 64;

/// What is verified: bytes from whoever.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// SPDM request and response.
    pub report: &'a [u8],
    /// The device's certificate chain, PEM, leaf first, root last.
    pub chain: &'a [u8],
}

/// A verified report. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    fields: Fields,
    device: String,
    firmware_id: Option<Vec<u8>>,
    /// Public keys that are this device's alone: the one that signs reports, and the boot ROM's, which certified it.
    keys: Vec<Vec<u8>>,
    compared: Compared,
}

impl Verified {
    /// What the relying party sent.
    #[must_use]
    pub fn nonce(&self) -> &[u8; 32] {
        &self.fields.nonce
    }

    /// The value of a measurement.
    #[must_use]
    pub fn measurement(&self, index: u8) -> Option<&[u8]> {
        self.fields.measurements.get(&index).map(|measurement| measurement.value.as_slice())
    }

    /// Common name of the device's certificate.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Every claim, by the names that `lethe check` prints.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let fields = &self.fields;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        // Request and response have exactly these versions and codes, or the form would have been refused.
        put("spdm_ver", json!("0x11"));
        put("req_code", json!("0xe0"));
        put("nonce", json!(hex::encode(fields.nonce)));
        put("slot", json!(fields.slot));
        put("resp_code", json!("0x60"));
        put("n_meas", json!(fields.measurements.len()));
        put("resp_nonce", json!(hex::encode(fields.response_nonce)));
        put("siglen", json!(96));
        let claim = |(kind, value): (&u16, &Vec<u8>)| (kind.to_string(), opaque_claim(*kind, value));
        let (values, tables): (Vec<_>, Vec<_>) =
            fields.opaque.iter().partition(|(_, value)| value.len() <= LONGEST_VALUE);
        put("opaque", Value::Object(values.into_iter().map(claim).collect()));
        put("opaque_tables", Value::Object(tables.into_iter().map(claim).collect()));
        let measurements: Map<String, Value> = fields
            .measurements
            .iter()
            .map(|(index, measurement)| {
                (index.to_string(), json!({"type": measurement.kind, "value": hex::encode(&measurement.value)}))
            })
            .collect();
        put("measurements", Value::Object(measurements));
        put("device", json!(self.device));
        put("fwid", self.firmware_id.as_ref().map_or(Value::Null, |id| json!(hex::encode(id))));
        put("revocation", json!("undetermined"));
        claims.extend(self.compared.claims().map(|(name, value)| (name.to_owned(), value)));
        claims
    }

    /// The same, if the device measured what these manifests say: rules G8 and G4. Manifests that were given before do not
    /// count any more.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the first rule broken.
    pub fn compared_with(mut self, rims: &[Rim]) -> Result<Self, Refusal> {
        self.compared = super::rim::compare(&self.fields, &self.device, rims)?;
        Ok(self)
    }
}

/// Versions are text, byte for byte, without the zeros behind; the rest is hexadecimal.
fn opaque_claim(kind: u16, value: &[u8]) -> Value {
    if matches!(kind, DRIVER_VERSION | VBIOS_VERSION) { json!(text(value)) } else { json!(hex::encode(value)) }
}

/// Verifies one report: rules G1 to G4. Expectations may name `measurement1` to `measurement64` and `fwid`.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken.
pub fn verify(
    evidence: Evidence<'_>,
    nonce: Option<&[u8]>,
    expected: &Expected,
    at: Time,
) -> Result<Verified, Refusal> {
    let report = Report::read(evidence.report)?;
    let fields = &report.fields;
    if let Some(nonce) = nonce {
        Rule::G1.require(fields.nonce.ct_eq(nonce).into(), "the report has another nonce")?;
    }
    let chain = certificates_from(evidence.chain).ok_or_else(|| Rule::G2.refuse("the certificate chain is not PEM"))?;
    Rule::G2.require(CHAIN_LENGTH.contains(&chain.len()), "the certificate chain has an impossible length")?;
    let read: Option<Vec<Certificate<'_>>> = chain.iter().map(|der| Certificate::read(der)).collect();
    let certificates = read.ok_or_else(|| Rule::G2.refuse("a certificate of the chain is malformed"))?;
    let root = chain.last().is_some_and(|root| root == roots::NVIDIA_DEVICE);
    Rule::G2.require(root, "the root of the chain is not NVIDIA's device root")?;
    let references: Vec<&Certificate<'_>> = certificates.iter().collect();
    verify_chain(&references, at, &[COMPOSITE_DEVICE_ID]).map_err(|reason| Rule::G2.refuse(reason))?;
    let leaf = certificates.first().ok_or_else(|| Rule::G2.refuse("an empty chain"))?;
    Rule::G2.require(!leaf.is_authority() && leaf.may(DIGITAL_SIGNATURE), "the device's key may not sign reports")?;
    let firmware_id = leaf
        .extension(COMPOSITE_DEVICE_ID)
        .map(|value| firmware_id(value).ok_or_else(|| Rule::G2.refuse("the composite device id is malformed")))
        .transpose()?;
    check_firmware_id(firmware_id, fields.opaque.get(&FIRMWARE_ID).map(Vec::as_slice))?;
    let signed = leaf.key.verifies_p384_raw(report.signed, &report.signature);
    Rule::G3.require(signed, "the device did not sign this report")?;

    compare(fields, firmware_id, expected)?;
    let device = Certificate::common_name(leaf.subject).unwrap_or_default().to_owned();
    let firmware_id = firmware_id.map(<[u8]>::to_vec);
    let keys = certificates.iter().take(own_certificates(certificates.len())).map(|own| own.spki.to_vec()).collect();
    Ok(Verified { fields: report.fields, device, firmware_id, keys, compared: Compared::default() })
}

/// How many certificates of a chain of this length are the device's own: what is below the provisioner.
const fn own_certificates(length: usize) -> usize {
    if length >= WHOLE_CHAIN { length - PROVISIONING } else { 1 }
}

/// Rule G2: a report that names the firmware that made it has a certificate for that firmware.
fn check_firmware_id(certified: Option<&[u8]>, reported: Option<&[u8]>) -> Result<(), Refusal> {
    let same = reported.is_none() || certified == reported;
    Rule::G2.require(same, "the device's certificate is for other firmware")
}

/// Verifies the devices of one machine: each on its own, all with the one nonce, and none twice.
///
/// # Errors
///
/// A [`Refusal`] that names the first rule broken.
pub fn verify_set(devices: &[Evidence<'_>], nonce: &[u8], at: Time) -> Result<Vec<Verified>, Refusal> {
    Rule::G1.require(!devices.is_empty(), "there is no device in the set")?;
    let mut verified = Vec::new();
    for device in devices {
        let next = verify(*device, Some(nonce), &Expected::nothing(), at)?;
        // By key: the same evidence can be written in other bytes, and one device can sign two reports.
        let twice = verified.iter().any(|other: &Verified| other.keys.iter().any(|key| next.keys.contains(key)));
        Rule::G2.require(!twice, "one device stands for two")?;
        verified.push(next);
    }
    Ok(verified)
}

fn compare(fields: &Fields, firmware_id: Option<&[u8]>, expected: &Expected) -> Result<(), Refusal> {
    const NAMES: [&str; 64] = [
        "measurement1",
        "measurement2",
        "measurement3",
        "measurement4",
        "measurement5",
        "measurement6",
        "measurement7",
        "measurement8",
        "measurement9",
        "measurement10",
        "measurement11",
        "measurement12",
        "measurement13",
        "measurement14",
        "measurement15",
        "measurement16",
        "measurement17",
        "measurement18",
        "measurement19",
        "measurement20",
        "measurement21",
        "measurement22",
        "measurement23",
        "measurement24",
        "measurement25",
        "measurement26",
        "measurement27",
        "measurement28",
        "measurement29",
        "measurement30",
        "measurement31",
        "measurement32",
        "measurement33",
        "measurement34",
        "measurement35",
        "measurement36",
        "measurement37",
        "measurement38",
        "measurement39",
        "measurement40",
        "measurement41",
        "measurement42",
        "measurement43",
        "measurement44",
        "measurement45",
        "measurement46",
        "measurement47",
        "measurement48",
        "measurement49",
        "measurement50",
        "measurement51",
        "measurement52",
        "measurement53",
        "measurement54",
        "measurement55",
        "measurement56",
        "measurement57",
        "measurement58",
        "measurement59",
        "measurement60",
        "measurement61",
        "measurement62",
        "measurement63",
        "measurement64",
    ];
    let measured = (1_u8..)
        .zip(NAMES)
        .filter_map(|(index, name)| Some((name, Rule::G4, Fact::Bytes(&fields.measurements.get(&index)?.value))));
    let firmware = firmware_id.map(|id| ("fwid", Rule::G2, Fact::Bytes(id)));
    expected.compare(&measured.chain(firmware).collect::<Vec<_>>(), Rule::G4)
}

/// `TCBInfo`: version, device key, firmware id (digest algorithm and digest).
fn firmware_id(value: &[u8]) -> Option<&[u8]> {
    let mut outer = Der::new(value);
    let mut fields = outer.nested(tag::SEQUENCE)?;
    outer.end()?;
    fields.small()?;
    fields.element(tag::SEQUENCE)?;
    let mut id = fields.nested(tag::SEQUENCE)?;
    fields.end()?;
    id.content(tag::OID)?;
    let digest = id.content(tag::OCTET_STRING)?;
    id.end().map(|()| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_the_reports_firmware_is_the_certified_one() {
        let rule = |certified: Option<&[u8]>, reported: Option<&[u8]>| {
            check_firmware_id(certified, reported).err().map(|refusal| refusal.rule())
        };
        assert_eq!(rule(Some(&[1; 48]), Some(&[1; 48])), None);
        assert_eq!(rule(Some(&[1; 48]), None), None, "older reports do not name it");
        assert_eq!(rule(None, None), None);
        assert_eq!(rule(Some(&[1; 48]), Some(&[2; 48])), Some(Rule::G2));
        assert_eq!(rule(Some(&[1; 48]), Some(&[1; 47])), Some(Rule::G2));
        assert_eq!(rule(None, Some(&[1; 48])), Some(Rule::G2), "nobody certified it");
    }

    #[test]
    fn what_is_a_devices_own_in_its_chain_is_below_the_provisioner() {
        assert_eq!([3, 4, 5, 6].map(own_certificates), [1, 1, 2, 3]);
    }
}
