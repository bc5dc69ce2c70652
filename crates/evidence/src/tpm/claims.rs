//! Claims of a verified quote, by the names that `lethe check` prints.

use serde_json::{Map, Value, json};

use super::verify::Verified;

/// All claims.
pub(super) fn of(verified: &Verified) -> Map<String, Value> {
    let Verified { attest, key, registers, drivers, boot_judged, .. } = verified;
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    put("nonce", json!(hex::encode(&attest.nonce)));
    put("qualified_signer", json!(hex::encode(&attest.qualified_signer)));
    put("clock", json!(attest.clock));
    put("reset_count", json!(attest.reset_count));
    put("restart_count", json!(attest.restart_count));
    put("safe", json!(attest.safe));
    put("firmware_version", json!(format!("{:#x}", attest.firmware_version)));
    let selections: Map<String, Value> =
        attest.selections.iter().map(|(bank, selected)| (bank.name().to_owned(), json!(selected))).collect();
    put("pcr_select", Value::Object(selections));
    put("pcr_digest", json!(hex::encode(&attest.digest)));
    if let Some(registers) = registers {
        let mut banks = Map::new();
        for (bank, selected) in &attest.selections {
            let values: Map<String, Value> = selected
                .iter()
                .filter_map(|index| Some((index.to_string(), json!(hex::encode(registers.get(*bank, *index)?)))))
                .collect();
            banks.insert(bank.name().to_owned(), Value::Object(values));
        }
        put("pcrs", Value::Object(banks));
    }
    put("ak_trusted", json!(key.origin()));
    if let Some(fingerprint) = key.fingerprint() {
        put("ak_spki_sha256", json!(hex::encode(fingerprint)));
    }
    if let Some(subject) = key.subject() {
        put("ak_subject", json!(subject));
    }
    put("event_log", json!(if drivers.is_some() { "replayed" } else { "not given" }));
    if let Some(drivers) = drivers {
        put("drivers", json!(drivers.iter().map(hex::encode).collect::<Vec<_>>()));
    }
    put("boot", json!(if *boot_judged { "judged" } else { "not judged" }));
    claims
}
