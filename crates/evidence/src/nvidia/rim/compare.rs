//! What a device measured against what the manifests of its VBIOS and its driver say.
//!
//! Source: NVIDIA nvtrust, `verifier.py`, and NVIDIA's attestation SDK, `gpu/verify.cpp`: what is active counts, no index in
//! two manifests, one of the values, and the one exception.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    super::report::{DRIVER_VERSION, Fields, VBIOS_VERSION, text},
    Rim,
};
use crate::{Refusal, Rule};

/// Opaque field that says whether the first video decoder is there.
const NVDEC0_STATUS: u16 = 11;
const NVDEC0_DISABLED: &[u8] = &[0x55];
/// The manifest's index of what the decoder's firmware measures. Without a decoder it is not compared.
const NVDEC0_INDEX: u8 = 35;

/// What a manifest is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nvidia) enum Kind {
    /// The firmware of a GPU; of a switch, its BIOS.
    Vbios,
    Driver,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Vbios => "vbios",
            Self::Driver => "driver",
        }
    }
}

/// Manifests that a device measured itself by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::nvidia) struct Compared {
    rims: BTreeMap<Kind, Rim>,
    /// Whether the decoder's measurement was left out.
    no_decoder: bool,
}

impl Compared {
    /// `rims` and `measurements_are`.
    pub(in crate::nvidia) fn claims(&self) -> [(&'static str, Value); 2] {
        let one = |(kind, rim): (&Kind, &Rim)| {
            let skipped = self.no_decoder && rim.manifest.active.contains_key(&NVDEC0_INDEX);
            let mut claims = rim.claims();
            if let Some(claims) = claims.as_object_mut() {
                claims.insert("compared".to_owned(), json!(rim.manifest.active.len() - usize::from(skipped)));
                claims.insert("not_compared".to_owned(), if skipped { json!([NVDEC0_INDEX]) } else { json!([]) });
            }
            (kind.name().to_owned(), claims)
        };
        let rims: Map<String, Value> = self.rims.iter().map(one).collect();
        // That there is nothing but a BIOS says NVIDIA's manifest, not the device.
        let are = match (self.rims.get(&Kind::Vbios), self.rims.contains_key(&Kind::Driver)) {
            (Some(_), true) => "as in the RIMs",
            (Some(rim), false) if rim.manifest.switch => "as in the RIMs",
            (Some(_), false) => "as in the RIM of the VBIOS",
            (None, true) => "as in the RIM of the driver",
            (None, false) => "undetermined",
        };
        [("rims", Value::Object(rims)), ("measurements_are", json!(are))]
    }
}

/// Compares a verified report with verified manifests: rules G8 and G4. `device` is the name in its certificate.
pub(in crate::nvidia) fn compare(fields: &Fields, device: &str, rims: &[Rim]) -> Result<Compared, Refusal> {
    let mut compared = Compared {
        no_decoder: fields.opaque.get(&NVDEC0_STATUS).is_some_and(|status| status == NVDEC0_DISABLED),
        ..Compared::default()
    };
    for rim in rims {
        let kind = kind(fields, device, rim)?;
        let twice = compared.rims.insert(kind, rim.clone()).is_some();
        Rule::G8.require(!twice, "there are two manifests for the VBIOS, or two for the driver")?;
    }
    let mut golden = BTreeMap::new();
    for (kind, rim) in &compared.rims {
        for (index, values) in &rim.manifest.active {
            let twice = golden.insert(*index, (*kind, values)).is_some();
            Rule::G8.require(!twice, "the manifests of VBIOS and driver are about the same measurement")?;
        }
    }
    let differs = |(index, (_, values)): &(&u8, &(Kind, &Vec<Vec<u8>>))| {
        // The report counts from one.
        let measured = index.checked_add(1).and_then(|index| fields.measurements.get(&index));
        let skipped = compared.no_decoder && **index == NVDEC0_INDEX;
        !skipped && !measured.is_some_and(|measured| values.contains(&measured.value))
    };
    let differing: Vec<String> =
        golden.iter().filter(differs).map(|(index, (kind, _))| format!("{index} ({})", kind.name())).collect();
    if differing.is_empty() {
        return Ok(compared);
    }
    Err(Rule::G4.refuse(format!("not as in the manifests, by their index: {}", differing.join(", "))))
}

/// Rule G8: what the manifest is for, if it is for this device.
fn kind(fields: &Fields, device: &str, rim: &Rim) -> Result<Kind, Refusal> {
    // A device is named `GH100 A01 …`, or `LS_10 A01 …` where the manifest says `LS10`.
    let chip = device.split(' ').next().unwrap_or_default().replace('_', "");
    if chip != rim.manifest.product {
        return Err(Rule::G8.refuse(format!("the manifest is for another chip, {}", rim.manifest.product)));
    }
    let version = &rim.manifest.version;
    // Versions of the two look different, so neither can pass for the other, whatever a device says of itself.
    let (kind, name, reported) = if is_vbios(version) {
        (Kind::Vbios, "VBIOS", fields.opaque.get(&VBIOS_VERSION).and_then(|value| vbios(value)))
    } else {
        (Kind::Driver, "driver", fields.opaque.get(&DRIVER_VERSION).map(|value| text(value)))
    };
    if reported.as_deref().is_some_and(|reported| reported.eq_ignore_ascii_case(version)) {
        return Ok(kind);
    }
    let reported = reported.unwrap_or_else(|| "none that can be told".to_owned());
    Err(Rule::G8.refuse(format!("the manifest is for {name} {version}, the device has {reported:.32}")))
}

/// Whether a version is written as a VBIOS's is: five bytes with dots between, `96.00.74.00.1A`.
fn is_vbios(version: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    version.split('.').count() == 5 && version.split('.').all(byte)
}

/// The version of a report's VBIOS: a GPU has four bytes, least significant first, one more and three zeros; a switch has
/// text.
fn vbios(value: &[u8]) -> Option<String> {
    if let [d, c, b, a, e, 0, 0, 0] = value {
        return Some(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}"));
    }
    Some(text(value)).filter(|text| is_vbios(text))
}
