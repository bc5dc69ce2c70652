//! Claims of a verified report, by the names that `lethe check` prints.

use serde_json::{Map, Value, json};

use super::{
    Endorsement,
    report::{Firmware, Report},
};

/// All claims. Byte strings are lower-case hexadecimal in the report's order, bit fields are `0x` numbers.
pub(super) fn of(report: &Report, endorsement: &Endorsement) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    put("version", json!(report.version));
    put("guest_svn", json!(report.guest_svn));
    put("policy", hex_number(report.policy.0));
    put("family_id", bytes(&report.family_id));
    put("image_id", bytes(&report.image_id));
    put("vmpl", json!(report.vmpl));
    put("signature_algo", json!(report.signature_algo));
    put("current_tcb", bytes(&report.current_tcb));
    put("platform_info", hex_number(report.platform_info));
    put("flags", hex_number(report.flags.into()));
    put("report_data", bytes(&report.report_data));
    put("measurement", bytes(&report.measurement));
    put("host_data", bytes(&report.host_data));
    put("id_key_digest", bytes(&report.id_key_digest));
    put("author_key_digest", bytes(&report.author_key_digest));
    put("report_id", bytes(&report.report_id));
    put("report_id_ma", bytes(&report.report_id_ma));
    put("reported_tcb", bytes(&report.reported_tcb));
    put("chip_id", bytes(&report.chip_id));
    put("committed_tcb", bytes(&report.committed_tcb));
    put("current_fw", firmware(report.current_firmware));
    put("committed_fw", firmware(report.committed_firmware));
    put("launch_tcb", bytes(&report.launch_tcb));
    if let Some(cpu) = report.cpu() {
        put("cpuid_fam_mod_step", json!(cpu));
    }
    if let Some((launch, current)) = report.mitigations {
        put("launch_mit_vector", hex_number(launch));
        put("current_mit_vector", hex_number(current));
    }
    put("policy_bits", policy_bits(report));
    put("author_key_en", json!(u8::from(report.author_key_enabled())));
    put("mask_chip_key", json!(u8::from(report.chip_key_masked())));
    put("signing_key", json!(endorsement.signing_key().name()));
    put("product", json!(endorsement.product().name()));
    if let Some(csp_id) = endorsement.csp_id() {
        put("csp_id", json!(csp_id));
    }
    put("endorsement_not_after", json!(endorsement.not_after().to_string()));
    match endorsement.issuer_not_revoked_as_of() {
        Some(signed) => {
            put("revocation", json!("issuer not revoked"));
            put("revocation_list_of", json!(signed.to_string()));
        }
        None => put("revocation", json!("undetermined")),
    }
    claims
}

fn policy_bits(report: &Report) -> Value {
    let policy = report.policy;
    let [abi_major, abi_minor] = policy.abi();
    let bit = u8::from;
    json!({
        "abi_minor": abi_minor,
        "abi_major": abi_major,
        "smt": bit(policy.smt()),
        "rsvd_must_be_one": bit(policy.must_be_one()),
        "migrate_ma": bit(policy.migration_agent()),
        "debug": bit(policy.debug()),
        "single_socket": bit(policy.single_socket()),
        "cxl_allow": bit(policy.cxl()),
        "mem_aes_256_xts": bit(policy.aes_256_xts()),
        "rapl_dis": bit(policy.rapl_off()),
        "ciphertext_hiding": bit(policy.ciphertext_hiding()),
        "page_swap_disable": bit(policy.page_swap_off()),
    })
}

fn bytes(value: &[u8]) -> Value {
    json!(hex::encode(value))
}

fn hex_number(value: u64) -> Value {
    json!(format!("{value:#x}"))
}

fn firmware([major, minor, build]: Firmware) -> Value {
    json!(format!("{major}.{minor}.{build}"))
}
