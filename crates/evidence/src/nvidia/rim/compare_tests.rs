//! A device is compared with the manifests of its own chip, VBIOS and driver, index by index.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    super::report::{Fields, Measurement},
    Compared, Rim, compare,
    manifest::Manifest,
};
use crate::{Rule, Time};

const DEVICE: &str = "GH100 A01 GSP FMC LF";

/// A report whose measurement at the manifest's index `n` is 48 times `n`.
fn report() -> Fields {
    let measurement = |index: u8| (index + 1, Measurement { kind: 1, value: vec![index; 48] });
    Fields {
        nonce: [0; 32],
        slot: 0,
        response_nonce: [0; 32],
        measurements: (0..64).map(measurement).collect(),
        opaque: BTreeMap::from([
            (3, b"550.90.07\0".to_vec()),
            (6, vec![0x00, 0x74, 0x00, 0x96, 0x1a, 0, 0, 0]),
            (11, vec![0xaa]),
        ]),
    }
}

/// A manifest about these measurements.
fn rim(version: &str, active: &[(u8, &[u8])]) -> Rim {
    let values = |values: &[u8]| values.iter().map(|value| vec![*value; 48]).collect();
    let manifest = Manifest {
        id: "id".to_owned(),
        version: version.to_owned(),
        product: "GH100".to_owned(),
        switch: false,
        active: active.iter().map(|(index, all)| (*index, values(all))).collect(),
    };
    Rim { manifest, digest: [9; 48], valid_until: Time::from_unix(0) }
}

fn vbios() -> Rim {
    rim("96.00.74.00.1A", &[(0, &[0]), (12, &[1, 2, 12])])
}

fn driver() -> Rim {
    rim("550.90.07", &[(7, &[7]), (35, &[35])])
}

fn rule(fields: &Fields, device: &str, rims: &[Rim]) -> Option<Rule> {
    compare(fields, device, rims).err().map(|refusal| refusal.rule())
}

fn claim(compared: &Compared, name: &str) -> serde_json::Value {
    compared.claims().into_iter().find(|(claim, _)| *claim == name).expect("a claim").1
}

#[test]
fn a_device_that_measured_what_the_manifests_say_is_accepted() {
    let are = |fields: &Fields, rims: &[Rim]| {
        claim(&compare(fields, DEVICE, rims).expect("as in the manifests"), "measurements_are")
    };
    assert_eq!(are(&report(), &[]), "undetermined");
    assert_eq!(are(&report(), &[vbios()]), "as in the RIM of the VBIOS");
    assert_eq!(are(&report(), &[driver()]), "as in the RIM of the driver");
    assert_eq!(are(&report(), &[driver(), vbios()]), "as in the RIMs");
    let both = compare(&report(), DEVICE, &[driver(), vbios()]).expect("as in the manifests");
    let claims = claim(&both, "rims");
    assert_eq!(claims["vbios"]["version"], "96.00.74.00.1A");
    assert_eq!(claims["vbios"]["digest"], "09".repeat(48));
    assert_eq!((&claims["vbios"]["compared"], &claims["vbios"]["not_compared"]), (&json!(2), &json!([])));
    assert_eq!(claims["driver"]["id"], "id");
    assert_eq!(claims["driver"]["revocation"], "undetermined");
}

#[test]
fn g4_every_active_measurement_has_one_of_its_values_at_its_index() {
    for (index, value, other) in [(0, 0, 1), (12, 12, 13), (63, 63, 0)] {
        let at = |value| [rim("96.00.74.00.1A", &[(index, &[value])])];
        assert_eq!(rule(&report(), DEVICE, &at(value)), None);
        assert_eq!(rule(&report(), DEVICE, &at(other)), Some(Rule::G4), "another value");
        let next = [rim("96.00.74.00.1A", &[(index ^ 1, &[value])])];
        assert_eq!(rule(&report(), DEVICE, &next), Some(Rule::G4), "another index");
    }
    let beyond = [rim("96.00.74.00.1A", &[(64, &[64])])];
    assert_eq!(rule(&report(), DEVICE, &beyond), Some(Rule::G4), "nothing was measured there");
    let mut changed = report();
    changed.measurements.get_mut(&13).expect("a measurement").value[47] ^= 1;
    let refusal = compare(&changed, DEVICE, &[vbios(), driver()]).expect_err("changed");
    assert_eq!((refusal.rule(), refusal.reason()), (Rule::G4, "not as in the manifests, by their index: 12 (vbios)"));
    let mut short = report();
    short.measurements.get_mut(&1).expect("a measurement").value.pop();
    assert_eq!(rule(&short, DEVICE, &[vbios()]), Some(Rule::G4), "shorter");
}

#[test]
fn the_decoders_measurement_counts_where_there_is_a_decoder() {
    let mut fields = report();
    fields.measurements.get_mut(&36).expect("a measurement").value[0] ^= 1;
    assert_eq!(rule(&fields, DEVICE, &[driver()]), Some(Rule::G4));
    fields.opaque.insert(11, vec![0x55]);
    let compared = compare(&fields, DEVICE, &[driver(), vbios()]).expect("no decoder");
    let claims = claim(&compared, "rims");
    assert_eq!((&claims["driver"]["compared"], &claims["driver"]["not_compared"]), (&json!(1), &json!([35])));
    assert_eq!(claims["vbios"]["not_compared"], json!([]));
    for unknown in [vec![], vec![0x55, 0x55], vec![0]] {
        fields.opaque.insert(11, unknown);
        assert_eq!(rule(&fields, DEVICE, &[driver()]), Some(Rule::G4));
    }
    fields.opaque.remove(&11);
    assert_eq!(rule(&fields, DEVICE, &[driver()]), Some(Rule::G4));
}

#[test]
fn g8_a_manifest_is_for_this_chip_vbios_and_driver() {
    for version in ["96.00.74.00.1B", "96.00.9F.00.01", "1A.00.74.00.96", "550.90.08", "550.90.07.00.00", "550.90"] {
        assert_eq!(rule(&report(), DEVICE, &[rim(version, &[(0, &[0])])]), Some(Rule::G8), "{version}");
    }
    assert_eq!(rule(&report(), DEVICE, &[rim("96.00.74.00.1a", &[(0, &[0])])]), None, "letters of either size");
    assert_eq!(rule(&report(), "GB100 A01 GSP FMC LF", &[vbios()]), Some(Rule::G8), "another chip");
    assert_eq!(rule(&report(), "GH1001 A01", &[vbios()]), Some(Rule::G8));
    assert_eq!(rule(&report(), "", &[vbios()]), Some(Rule::G8));
    assert_eq!(rule(&report(), DEVICE, &[vbios(), vbios()]), Some(Rule::G8), "one manifest twice");
    let overlapping = rim("550.90.07", &[(12, &[12])]);
    assert_eq!(rule(&report(), DEVICE, &[vbios(), overlapping]), Some(Rule::G8), "both about one measurement");

    let mut fields = report();
    // A driver cannot pass for a VBIOS.
    fields.opaque.insert(3, b"96.00.9F.00.01\0".to_vec());
    assert_eq!(rule(&fields, DEVICE, &[rim("96.00.9F.00.01", &[(0, &[0])])]), Some(Rule::G8));
    for unknown in [vec![], vec![0; 7], vec![0x00, 0x74, 0x00, 0x96, 0x1a, 0, 0, 1], b"550.90.07".to_vec()] {
        fields.opaque.insert(6, unknown);
        assert_eq!(rule(&fields, DEVICE, &[vbios()]), Some(Rule::G8));
    }
    fields.opaque.clear();
    assert_eq!(rule(&fields, DEVICE, &[vbios()]), Some(Rule::G8), "no version at all");
    assert_eq!(rule(&fields, DEVICE, &[driver()]), Some(Rule::G8), "no version at all");
}

#[test]
fn a_switch_has_a_bios_and_no_driver() {
    let mut fields = report();
    fields.opaque = BTreeMap::from([(6, b"96.10.73.00.01\0".to_vec())]);
    let mut bios = rim("96.10.73.00.01", &[(0, &[0]), (35, &[35])]);
    bios.manifest.product = "LS10".to_owned();
    let compare = |bios: &Rim| compare(&fields, "LS_10 A01 FSP FMC LF", std::slice::from_ref(bios)).expect("as in it");
    let silent = compare(&bios);
    assert_eq!(claim(&silent, "measurements_are"), "as in the RIM of the VBIOS", "a GPU that names no driver");
    bios.manifest.switch = true;
    let compared = compare(&bios);
    assert_eq!(claim(&compared, "measurements_are"), "as in the RIMs");
    assert_eq!(claim(&compared, "rims")["vbios"]["compared"], 2);
}
